package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"annals/eventstore"
)

// httpInsert is the row of the comparison: an event's payload and stream, in a transaction of its own.
const (
	httpTable = `CREATE TABLE bench_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
	stream text NOT NULL, version bigint NOT NULL, data json NOT NULL)`
	httpInsert = `INSERT INTO bench_rows (stream, version, data) VALUES ($1, $2, $3)`
)

// runHTTP sends whole commands to servers of their own processes: JSON in, decide, append with fsync, audit log applied,
// JSON out.
func runHTTP(ctx context.Context, o *Options, d *database) (_ Report, err error) {
	if err := d.fill(ctx, o.Log); err != nil {
		return Report{}, err
	}
	if _, err := d.owner.ExecContext(ctx, httpTable); err != nil {
		return Report{}, err
	}
	var servers []*server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	var pids []int
	for range o.Servers {
		s, err := startServer(ctx, o.Program, d.dsn)
		if err != nil {
			return Report{}, err
		}
		servers = append(servers, s)
		pids = append(pids, s.cmd.Process.Pid)
	}
	commands := &commander{servers: servers, tenants: o.Tenants}
	defer commands.close()
	sizes := *o
	sizes.Callers = o.Callers[len(o.Callers)-1:]
	if err := commands.open(ctx, sizes.Callers[0]); err != nil {
		return Report{}, err
	}
	inserts := plainInserts(d)
	t, err := compare(ctx, &sizes, newMeter(ctx, d.owner, pids...), []way{
		{name: waySequencer, each: 1, start: func(context.Context, int) ([]func() error, func(), error) {
			return commands.calls, nil, nil
		}},
		inserts,
	})
	if err != nil {
		return Report{}, err
	}
	n := sizes.Callers[0]
	reached := ratio(fmt.Sprintf("%d connections: commands ÷ inserts", n), t.rate(waySequencer, n)/t.rate(wayInsert, n), 0)
	if n == 128 {
		reached = ratio(reached.Name, reached.Value, 1).notBelow(0.04)
	}
	return Report{
		Unit: "commands", Rows: t.rows(),
		Ratios: []Ratio{reached},
		Notes:  []string{fmt.Sprintf("%d server(s) with every subscriber; program CPU is the servers', generator CPU this process's", o.Servers)},
	}, nil
}

func plainInserts(d *database) way {
	return way{name: wayInsert, each: 1, start: func(ctx context.Context, callers int) ([]func() error, func(), error) {
		db, err := eventstore.OpenDB(d.dsn, eventstore.RoleOwner, callers, "annals bench")
		if err != nil {
			return nil, nil, err
		}
		calls := make([]func() error, callers)
		for i := range calls {
			conn, err := db.Connx(ctx)
			if err != nil {
				return nil, func() { db.Close() }, err
			}
			stmt, err := conn.PreparexContext(ctx, httpInsert)
			if err != nil {
				return nil, func() { db.Close() }, err
			}
			stream, version := newID().String(), int64(0)
			data := []byte(`{"quantity":1,"available_after":2,"reason":"delivery 7"}`)
			calls[i] = func() error {
				version++
				_, err := stmt.ExecContext(ctx, stream, version, data)
				return err
			}
		}
		return calls, func() { db.Close() }, nil
	}}
}

// server is an annals serve of a process of its own.
type server struct {
	cmd     *exec.Cmd
	address string
	log     *tail
	ended   chan error
}

// startServer starts one on a free port and waits until it listens.
func startServer(ctx context.Context, program, dsn string) (*server, error) {
	s := &server{ended: make(chan error, 1), log: &tail{}}
	s.cmd = exec.Command(program, "serve", "--addr", "127.0.0.1:0", "--log-level", "warn")
	// Nothing of somebody else's server is taken over, and no file of secrets is left behind.
	ours := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ANNALS_") })
	s.cmd.Env = append(ours, "ANNALS_DATABASE_URL="+dsn,
		"ANNALS_SIGNING_PASSPHRASE=of a benchmark", "ANNALS_SUBJECT_KEYS_PASSPHRASE=of a benchmark")
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	listening := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(stderr, s.log))
		for lines.Scan() {
			if address, ok := strings.CutPrefix(lines.Text(), "listening on http://"); ok {
				listening <- address
			}
		}
		s.ended <- s.cmd.Wait()
	}()
	select {
	case s.address = <-listening:
		return s, nil
	case err := <-s.ended:
		return nil, fmt.Errorf("the server ended: %v: %s", err, s.log)
	case <-time.After(patience):
		err = errors.New("the server doesn't start")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, s.stop())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		return errors.Join(errors.New("the server doesn't end"), s.cmd.Process.Kill(), <-s.ended)
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-2000):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// commander sends commands over connections that stay open. It speaks HTTP by hand, so that the load generator takes as
// little of the machine as it can.
type commander struct {
	servers []*server
	tenants int
	calls   []func() error
	conns   []net.Conn
}

// open registers a product for each connection, which then receives stock.
func (c *commander) open(ctx context.Context, connections int) error {
	for i := range connections {
		address := c.servers[i%len(c.servers)].address
		client := fmt.Sprintf("bench-%d", i%c.tenants)
		path, err := register(ctx, address, client, i)
		if err != nil {
			return err
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
		const payload = `{"quantity":1,"reason":"delivery 7"}`
		request := []byte("POST " + path + "/stock-receipts HTTP/1.1\r\nHost: " + address + "\r\nAnnals-Client: " + client +
			"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(payload)) + "\r\n\r\n" + payload)
		answers := bufio.NewReader(conn)
		c.calls = append(c.calls, func() error {
			if _, err := conn.Write(request); err != nil {
				return err
			}
			return readAnswer(answers)
		})
	}
	return nil
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
	if res.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return "", fmt.Errorf("register a product: %s: %s", res.Status, text)
	}
	return res.Header.Get("Location"), nil
}

func (c *commander) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// readAnswer reads one answer with a Content-Length. It fails unless that is a 200 that waited for the audit log.
func readAnswer(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	var failure error
	switch {
	case bytes.Contains(line, []byte(" 200 ")):
	case bytes.Contains(line, []byte(" 503 ")), bytes.Contains(line, []byte(" 429 ")):
		failure = errLater
	default:
		failure = fmt.Errorf("answer: %s", line)
	}
	length := 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if bytes.HasPrefix(line, []byte("Annals-Synchronous: pending")) {
			failure = errors.New("an answer didn't wait for the audit log")
		}
	}
	if _, err := r.Discard(length); err != nil {
		return err
	}
	return failure
}
