package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// connection sends one command again and again, and waits for each answer. It speaks HTTP by hand, without allocating, so
// that the load generator takes as little of the machine as it can.
type connection struct {
	net.Conn
	request []byte
	buffer  [4096]byte
}

// reply is what counts of an answer.
type reply struct {
	status  int
	pending bool // it didn't wait for the synchronous subscribers
	closing bool // no further request is answered on this connection
}

func (c *connection) call() (reply, error) {
	if _, err := c.Write(c.request); err != nil {
		return reply{}, err
	}
	for have := 0; ; {
		n, err := c.Read(c.buffer[have:])
		have += n
		if r, length, ok := parseReply(c.buffer[:have]); ok {
			if have > length {
				return r, fmt.Errorf("%d bytes follow an answer", have-length)
			}
			if have == length {
				return r, nil
			}
			if length > len(c.buffer) {
				_, err := io.CopyN(io.Discard, c, int64(length-have))
				return r, err
			}
		}
		if err != nil {
			return reply{}, err
		}
		if have == len(c.buffer) {
			return reply{}, fmt.Errorf("an answer's header has more than %d bytes", have)
		}
	}
}

var (
	headerEnd     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
	isPending     = []byte("\r\nAnnals-Synchronous: pending")
	isClosing     = []byte("\r\nConnection: close")
)

// parseReply reads an answer with a Content-Length, and gives its length as a whole; false until all of its header is
// there.
func parseReply(b []byte) (r reply, length int, ok bool) {
	end := bytes.Index(b, headerEnd)
	if end < 0 {
		return r, 0, false
	}
	header := b[:end+2]
	if len(header) > 12 {
		r.status = digits(header[9:12])
	}
	if at := bytes.Index(header, contentLength); at >= 0 {
		length = digits(header[at+len(contentLength):])
	}
	r.pending, r.closing = bytes.Contains(header, isPending), bytes.Contains(header, isClosing)
	return r, end + len(headerEnd) + length, true
}

// digits reads the number that text begins with.
func digits(text []byte) (n int) {
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// preparers is how many of so many connections are prepared at a time: few enough not to be refused by tight limits.
func preparers(connections int) int { return max(1, min(16, connections/40)) }

// connect opens connections, each of which receives stock of a product of its own. close closes them, and so does the end
// of ctx.
func connect(ctx context.Context, servers []*server, tenants, count int) (all []*connection, close func(), err error) {
	all = make([]*connection, count)
	hangUp := func() {
		for _, c := range all {
			if c != nil {
				c.Close()
			}
		}
	}
	preparing, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var workers sync.WaitGroup
	atATime := preparers(count)
	for worker := range atATime {
		workers.Go(func() {
			for i := worker; i < count && preparing.Err() == nil; i += atATime {
				var err error
				all[i], err = prepare(preparing, servers[i%len(servers)].address, fmt.Sprintf("bench-%d", i%tenants), i)
				if err != nil {
					fail(err)
				}
			}
		})
	}
	workers.Wait()
	if err := context.Cause(preparing); err != nil {
		hangUp()
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, hangUp)
	return all, func() { stop(); hangUp() }, nil
}

// prepare registers a product, connects, and receives stock once.
func prepare(ctx context.Context, address, client string, i int) (*connection, error) {
	path, err := register(ctx, address, client, i)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	const payload = `{"quantity":1,"reason":"delivery 7"}`
	c := &connection{Conn: conn, request: []byte("POST " + path + "/stock-receipts HTTP/1.1\r\nHost: " + address +
		"\r\nAnnals-Client: " + client + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(payload)) +
		"\r\n\r\n" + payload)}
	r, err := c.call()
	if err == nil && r.status != http.StatusOK {
		err = fmt.Errorf("receive stock: status %d", r.status)
	}
	return c, err
}

func register(ctx context.Context, address, client string, i int) (path string, err error) {
	body := fmt.Sprintf(`{"sku":"B-%d","name":"Bench %d","price":"9.99","stock":1}`, i, i)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/products", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Annals-Client", client)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 10_000))
	if res.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("register a product: %s: %s", res.Status, text)
	}
	return res.Header.Get("Location"), err
}
