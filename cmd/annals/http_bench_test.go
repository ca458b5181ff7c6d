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
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"annals/eventstore"
	"annals/eventstore/pgtest"
)

const benchConnections = 128

// BenchmarkHTTPCommand sends whole commands over 128 connections: JSON in, decide, append with fsync, audit log applied,
// JSON out. In the same run, in turns, 128 connections insert single rows of the same size, each in a transaction of its own. The metric
// ratio is commands per second over inserts per second, the median of the rounds.
func BenchmarkHTTPCommand(b *testing.B) {
	tuneCollector()
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

	commands := benchCommands(b, listener.Addr().String())
	inserts := benchInserts(b, server.DSN())
	meter := newCPUMeter(b, server.DSN())
	const rounds = 5
	var ratios, perSecond []float64
	var latencies []time.Duration
	each := max(1, b.N/rounds/benchConnections)
	b.ResetTimer()
	for range rounds {
		meter.start(b)
		took, each1 := inTurns(b, commands, each)
		latencies = append(latencies, each1...)
		b.StopTimer()
		meter.stop(b)
		baseline, _ := inTurns(b, inserts, each)
		b.StartTimer()
		ratios = append(ratios, baseline.Seconds()/took.Seconds())
		perSecond = append(perSecond, float64(each*benchConnections)/took.Seconds())
	}
	meter.report(b, rounds*each*benchConnections, "command")
	slices.Sort(ratios)
	slices.Sort(perSecond)
	slices.Sort(latencies)
	b.ReportMetric(ratios[rounds/2], "ratio")
	b.ReportMetric(perSecond[rounds/2], "commands/s")
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
}

// inTurns lets every caller work each times, all at once, and gives how long that took together and each by itself.
func inTurns(b *testing.B, callers []func() error, each int) (time.Duration, []time.Duration) {
	b.Helper()
	var wait sync.WaitGroup
	took := make([][]time.Duration, len(callers))
	start := time.Now()
	for i, call := range callers {
		wait.Go(func() {
			for range each {
				begin := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(begin))
			}
		})
	}
	wait.Wait()
	return time.Since(start), slices.Concat(took...)
}

// benchCommands registers a product for each connection and gives functions that receive stock of it. They speak HTTP
// by hand, so that the load generator takes as little of the machine as it can.
func benchCommands(b *testing.B, address string) []func() error {
	b.Helper()
	callers := make([]func() error, benchConnections)
	for i := range callers {
		body := fmt.Sprintf(`{"sku":"B-%d","name":"Bench %d","price":"9.99","stock":1}`, i, i)
		res, err := http.Post("http://"+address+"/v1/products", "application/json", bytes.NewReader([]byte(body)))
		if err != nil {
			b.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusCreated {
			b.Fatalf("register a product: %s", res.Status)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		const payload = `{"quantity":1,"reason":"delivery 7"}`
		request := []byte("POST " + res.Header.Get("Location") + "/stock-receipts HTTP/1.1\r\nHost: " + address +
			"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(payload)) + "\r\n\r\n" + payload)
		answers := bufio.NewReader(conn)
		callers[i] = func() error {
			if _, err := conn.Write(request); err != nil {
				return err
			}
			return readAnswer(answers)
		}
	}
	return callers
}

// readAnswer reads one answer with a Content-Length, and fails unless it is a 200 that waited for the audit log.
func readAnswer(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.Contains(line, []byte(" 200 ")) {
		return fmt.Errorf("answer: %s", line)
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
			return fmt.Errorf("the answer didn't wait for the audit log")
		}
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return err
}

// benchInserts gives functions that insert one row of about an event's size, each on a connection of its own.
func benchInserts(b *testing.B, dsn string) []func() error {
	b.Helper()
	db, err := eventstore.OpenDB(dsn, eventstore.RoleOwner, benchConnections, "annals bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	db.MustExec(`CREATE TABLE bench_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
		stream text NOT NULL, version bigint NOT NULL, data json NOT NULL, UNIQUE (stream, version))`)
	callers := make([]func() error, benchConnections)
	for i := range callers {
		conn, err := db.Connx(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		stmt, err := conn.PreparexContext(b.Context(), `INSERT INTO bench_rows (stream, version, data) VALUES ($1, $2, $3)`)
		if err != nil {
			b.Fatal(err)
		}
		stream, version := fmt.Sprintf("01a1ff80-d20d-7a81-9b04-4ab1343%05d", i), int64(0)
		data := []byte(`{"quantity":1,"available_after":2,"reason":"delivery 7"}`)
		callers[i] = func() error {
			version++
			_, err := stmt.Exec(stream, version, data)
			return err
		}
	}
	return callers
}
