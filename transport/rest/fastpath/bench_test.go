package fastpath

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
)

// BenchmarkServe compares what a small command's request and answer cost here and in net/http's server alone, the caller's
// side included. Each caller has a connection.
func BenchmarkServe(b *testing.B) {
	const body = `{"quantity":1,"reason":"delivery 7"}`
	request := "POST /v1/products/01890000-0000-7000-8000-000000000000/stock-receipts HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" +
		"Annals-Client: shop\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(text)))
		h.Set("Cache-Control", "no-store")
		h.Set("ETag", `"12"`)
		_, _ = w.Write(text)
	})
	for _, fast := range []bool{true, false} {
		b.Run(map[bool]string{true: "fast", false: "net/http"}[fast], func(b *testing.B) {
			s := start(b, fast, handler, nil)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", s.address)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				text, buffer := []byte(request), make([]byte, 1024)
				for pb.Next() {
					if _, err := conn.Write(text); err != nil {
						b.Error(err)
						return
					}
					if _, err := conn.Read(buffer); err != nil { // an answer comes in one piece
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
