package fastpath

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What programs send that people call an API with.
var ordinaryRequests = map[string]string{
	"curl": "POST /v1/products HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" +
		"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"Go": "PUT /v1/a?b=c%20d&e HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 3\r\n" +
		"Annals-Client: shop\r\nAccept-Encoding: gzip\r\n\r\nabc",
	"Python": "GET /v1/carts/%2f HTTP/1.1\r\nHost: [::1]:80\r\nUser-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\n" +
		"Accept: */*\r\nConnection: keep-alive\r\n\r\n",
	"Node": "DELETE / HTTP/1.1\r\nhost: annals_1.example.org\r\nconnection: keep-alive\r\naccept: application/json\r\n" +
		"accept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\n\r\n",
	"no spaces, twice": "PATCH /x HTTP/1.1\r\nHost:h\r\nAccept:a\r\nEmpty:\r\nUpgrade: h2c\r\nAccept: b \t\r\ncontent-length: 0\r\n\r\n",
}

// What is left to net/http, whether it is allowed or not.
var otherRequests = map[string]string{
	"HTTP/1.0":          "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
	"HTTP/2":            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"HEAD":              "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
	"OPTIONS":           "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
	"no host":           "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
	"no header":         "GET / HTTP/1.1\r\n\r\n",
	"empty host":        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"two hosts":         "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"odd host":          "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"absolute target":   "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
	"bad escape":        "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n",
	"space in target":   "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
	"byte in target":    "GET /\xe4 HTTP/1.1\r\nHost: h\r\n\r\n",
	"chunks":            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks and length": "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two lengths":       "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"odd length":        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\n{}",
	"list of lengths":   "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2, 2\r\n\r\n{}",
	"long body":         "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n{}",
	"expectation":       "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
	"close":             "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
	"upgrade":           "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
	"trailer":           "POST / HTTP/1.1\r\nHost: h\r\nTrailer: X\r\nContent-Length: 2\r\n\r\n{}",
	"pragma":            "GET / HTTP/1.1\r\nHost: h\r\nPragma: no-cache\r\n\r\n",
	"folded":            "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
	"space after name":  "GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 2\r\n\r\n{}",
	"no colon":          "GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n",
	"no name":           "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n",
	"bare line feed":    "GET / HTTP/1.1\nHost: h\r\n\r\n",
	"bare return":       "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
	"NUL":               "GET / HTTP/1.1\r\nHost: h\r\nA: \x00\r\n\r\n",
	"many fields":       "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("A: b\r\n", maxFields+1) + "\r\n",
	"noise":             "\x16\x03\x01\r\n\r\n",
}

func TestWhatIsOrdinary(t *testing.T) {
	t.Parallel()
	for name, text := range ordinaryRequests {
		var m message
		if size, v := m.parse([]byte(text)); v != ordinary || size != len(text) {
			t.Errorf("%s: %d, %d of %d bytes", name, v, size, len(text))
		}
	}
	for name, text := range otherRequests {
		var m message
		if _, v := m.parse([]byte(text)); v != other {
			t.Errorf("%s: %d", name, v)
		}
	}
}

// An ordinary request is the same to net/http, however it is cut off it isn't yet one, and what follows isn't touched.
func FuzzParse(f *testing.F) {
	for _, text := range ordinaryRequests {
		f.Add([]byte(text))
		f.Add([]byte(text + "GET / HT"))
	}
	for _, text := range otherRequests {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var m message
		size, v := m.parse(text)
		if v != ordinary {
			return
		}
		base := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
		got := view(t, m.open(base, context.Background()).request)
		reader := bufio.NewReader(bytes.NewReader(text))
		r, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		if diff := cmp.Diff(view(t, r), got); diff != "" {
			t.Error(diff)
		}
		if rest, _ := io.ReadAll(reader); !bytes.Equal(rest, text[size:]) {
			t.Errorf("net/http leaves %q, not %q", rest, text[size:])
		}
		for cut := range size {
			if known, v := new(message).parse(text[:cut]); v != partial || known != 0 && known != size {
				t.Fatalf("of its first %d bytes: %d, %d of %d bytes", cut, v, known, size)
			}
		}
	})
}

// view is what a handler sees of a request.
func view(t *testing.T, r *http.Request) map[string]any {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"method": r.Method, "url": r.URL, "target": r.RequestURI, "host": r.Host, "protocol": []any{r.Proto, r.ProtoMajor, r.ProtoMinor},
		"header": r.Header, "length": r.ContentLength, "body": body, "no body": r.Body == http.NoBody,
		"encoding": len(r.TransferEncoding), "close": r.Close, "trailer": len(r.Trailer),
	}
}
