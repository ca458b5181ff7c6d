package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// Sizes of the overload. Each phase lasts phaseCommands of what the server can do, and at least phaseLeast.
const (
	overloadFactor      = 5
	overloadConnections = overloadFactor * benchConnections
	phaseLeast          = 200 * time.Millisecond
)

// BenchmarkOverload finds how many commands a server takes per second from 128 callers that each wait for their answers,
// then offers it five times as many over five times as many connections, then the first load again. Metrics: accepted, the
// commands taken under overload over those of the peak; p99-ratio, the latencies of the same; refused-p99-ms; recovered,
// the throughput afterwards over that of the peak; heap-MB before and after.
func BenchmarkOverload(b *testing.B) {
	server := pgtest.Cluster(b, pgtest.WithFsync(), pgtest.WithSettings(map[string]string{"max_connections": "300"}))
	cfg := &serveConfig{
		addr: "127.0.0.1:0", cartLifetime: time.Hour, cartSweep: time.Hour, syncWait: time.Second,
		shutdownTimeout: stopTimeout, readyLag: 1 << 40, keyRetention: 2 * minIdempotencyRetention,
	}
	n, err := startNode(b.Context(), cfg, server.DSN(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer n.close(stopTimeout)
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.serve(ctx, listener, cfg) }()
	defer func() { stop(); <-served }()

	callers := receivers(b, listener.Addr().String(), overloadConnections)
	phase := max(time.Duration(b.N)*time.Millisecond, phaseLeast)
	for part := range slices.Chunk(callers, benchConnections) { // each stream is loaded once
		offer(b, part, phase/2, 0)
	}
	b.ResetTimer()
	peak := offer(b, callers[:benchConnections], phase, 0)
	heap := heapMB()
	over := offer(b, callers, phase, overloadFactor*peak.perSecond())
	heapAfter := heapMB()
	after := offer(b, callers[:benchConnections], phase, 0)
	b.StopTimer()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(peak.perSecond(), "peak/s")
	b.ReportMetric(float64(over.offered())/over.took.Seconds()/peak.perSecond(), "offered")
	b.ReportMetric(over.perSecond()/peak.perSecond(), "accepted")
	b.ReportMetric(after.perSecond()/peak.perSecond(), "recovered")
	b.ReportMetric(milliseconds(p99(peak.accepted)), "peak-p99-ms")
	b.ReportMetric(milliseconds(p99(over.accepted)), "accepted-p99-ms")
	b.ReportMetric(milliseconds(p99(over.refused)), "refused-p99-ms")
	b.ReportMetric(milliseconds(p99(over.accepted))/max(milliseconds(p99(peak.accepted)), 1e-6), "p99-ratio")
	b.ReportMetric(heap, "heap-MB")
	b.ReportMetric(heapAfter, "heap-after-MB")
}

// phaseResult is what came of a phase: how long each answer took.
type phaseResult struct {
	took              time.Duration
	accepted, refused []time.Duration
}

func (o *phaseResult) perSecond() float64 { return float64(len(o.accepted)) / o.took.Seconds() }
func (o *phaseResult) offered() int       { return len(o.accepted) + len(o.refused) }

func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func heapMB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// offer has callers send commands for a while: perSecond of them all together, evenly, or each as soon as it has its
// answer when that is 0. A caller that is late sends at once.
func offer(b *testing.B, callers []*receiver, during time.Duration, perSecond float64) *phaseResult {
	b.Helper()
	var interval time.Duration
	if perSecond > 0 {
		interval = time.Duration(float64(len(callers)) / perSecond * float64(time.Second))
	}
	for _, c := range callers {
		c.connect(b)
	}
	start := time.Now()
	outcomes := make([]phaseResult, len(callers))
	var wait sync.WaitGroup
	for i, c := range callers {
		wait.Go(func() {
			next := start.Add(interval * time.Duration(i) / time.Duration(len(callers)))
			for o := &outcomes[i]; time.Since(start) < during; next = next.Add(interval) {
				time.Sleep(time.Until(next))
				begin := time.Now()
				status, err := c.send()
				took := time.Since(begin)
				switch {
				case err != nil:
					b.Error(err)
					return
				case status == http.StatusOK:
					o.accepted = append(o.accepted, took)
				case status == http.StatusServiceUnavailable:
					o.refused = append(o.refused, took)
				default:
					b.Errorf("status %d", status)
					return
				}
			}
		})
	}
	wait.Wait()
	all := &phaseResult{took: time.Since(start)}
	for _, o := range outcomes {
		all.accepted, all.refused = append(all.accepted, o.accepted...), append(all.refused, o.refused...)
	}
	return all
}

// receiver receives stock of a product of its own over a connection of its own.
type receiver struct {
	address string
	conn    net.Conn
	request []byte
	answers *bufio.Reader
}

// receivers registers products. They speak HTTP by hand, so that the load generator takes as little of the machine as it
// can.
func receivers(b *testing.B, address string, count int) []*receiver {
	b.Helper()
	all := make([]*receiver, count)
	for i := range all {
		body := fmt.Sprintf(`{"sku":"O-%d","name":"Overload %d","price":"9.99","stock":1}`, i, i)
		res, err := http.Post("http://"+address+"/v1/products", "application/json", bytes.NewReader([]byte(body)))
		if err != nil {
			b.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusCreated {
			b.Fatalf("register a product: %s", res.Status)
		}
		const payload = `{"quantity":1,"reason":"delivery 7"}`
		request := "POST " + res.Header.Get("Location") + "/stock-receipts HTTP/1.1\r\nHost: " + address +
			"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(payload)) + "\r\n\r\n" + payload
		all[i] = &receiver{address: address, request: []byte(request)}
	}
	return all
}

// connect makes a connection, unless there is one: the server closes those that nothing is sent on.
func (r *receiver) connect(b *testing.B) {
	if r.conn != nil {
		return
	}
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	r.conn, r.answers = conn, bufio.NewReader(conn)
}

// send sends a command and reads its answer to the end.
func (r *receiver) send() (status int, err error) {
	if _, err := r.conn.Write(r.request); err != nil {
		return 0, err
	}
	line, err := r.answers.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if fields := bytes.Fields(line); len(fields) > 1 {
		if status, err = strconv.Atoi(string(fields[1])); err != nil {
			return 0, err
		}
	}
	length := 0
	for {
		if line, err = r.answers.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	_, err = io.CopyN(io.Discard, r.answers, int64(length))
	return status, err
}
