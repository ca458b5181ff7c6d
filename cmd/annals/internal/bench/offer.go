package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// phaseResult is what came of a load. Rates count what happened within its length, latencies what began within it.
type phaseResult struct {
	length            time.Duration
	offered           int64 // requests sent
	taken, turnedAway int64 // answers
	accepted, refused *hdrhistogram.Histogram
	pending           int64 // accepted without the audit log having applied them
	// With those before and after.
	acceptedInAll, refusedInAll int64
}

func (r *phaseResult) offeredPerSecond() float64  { return float64(r.offered) / r.length.Seconds() }
func (r *phaseResult) acceptedPerSecond() float64 { return float64(r.taken) / r.length.Seconds() }
func (r *phaseResult) refusedPerSecond() float64  { return float64(r.turnedAway) / r.length.Seconds() }

func (r *phaseResult) p99() float64 { return max(1, float64(r.accepted.ValueAtQuantile(99))) }

// offer has connections send commands for a while: perSecond of them all together, evenly, or each as soon as it has its
// answer when that is 0. One that is late sends at once. What happens in the lead-in isn't counted.
func offer(connections []*connection, leadIn, length time.Duration, perSecond float64) (phaseResult, error) {
	var interval time.Duration
	if perSecond > 0 {
		interval = time.Duration(float64(len(connections)) / perSecond * float64(time.Second))
	}
	all := &recorder{phaseResult: phaseResult{length: length, accepted: newHistogram(), refused: newHistogram()}}
	start := time.Now()
	all.from = start.Add(leadIn)
	all.to = all.from.Add(length)
	var callers sync.WaitGroup
	for i, c := range connections {
		callers.Go(func() {
			next := start.Add(interval * time.Duration(i) / time.Duration(len(connections)))
			for ; ; next = next.Add(interval) {
				begun := time.Now()
				if wait := next.Sub(begun); wait > 0 {
					time.Sleep(wait)
					begun = time.Now()
				}
				if !begun.Before(all.to) {
					return
				}
				r, err := c.call()
				if !all.record(r, err, begun, time.Now()) {
					return
				}
			}
		})
	}
	callers.Wait()
	return all.phaseResult, all.failure
}

// recorder counts the answers of all connections.
type recorder struct {
	mu       sync.Mutex
	from, to time.Time
	phaseResult
	failure error
}

// record takes an answer in, and reports whether to go on.
func (a *recorder) record(r reply, err error, begun, ended time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && (r.closing || r.status != http.StatusOK && r.status != http.StatusServiceUnavailable) {
		err = fmt.Errorf("answered with status %d, connection closed: %v", r.status, r.closing)
	}
	if err != nil && a.failure == nil {
		a.failure = err
	}
	if a.failure != nil {
		return false
	}
	began, answered := !begun.Before(a.from), !ended.Before(a.from) && ended.Before(a.to)
	took := min(ended.Sub(begun).Microseconds(), maxLatency)
	if began {
		a.offered++
	}
	count, inAll, latency := &a.taken, &a.acceptedInAll, a.accepted
	if r.status != http.StatusOK {
		count, inAll, latency = &a.turnedAway, &a.refusedInAll, a.refused
	}
	*inAll++
	if began {
		_ = latency.RecordValue(took)
	}
	if answered {
		*count++
	}
	if r.pending {
		a.pending++
	}
	return true
}

// memory is what servers hold at a moment.
type memory struct{ heapMB, rssMB float64 }

// memoryOf adds up the heaps that the servers tell of and what /proc says is resident, 0 where there is none.
func memoryOf(ctx context.Context, servers []*server) (memory, error) {
	var m memory
	for _, s := range servers {
		heap, err := metric(ctx, s.address, "go_memstats_heap_inuse_bytes")
		if err != nil {
			return m, err
		}
		m.heapMB += heap / (1 << 20)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
		if err == nil {
			m.rssMB += residentMB(status)
		}
	}
	return m, nil
}

// residentMB reads VmRSS of a process's status.
func residentMB(status []byte) float64 {
	_, rest, _ := bytes.Cut(status, []byte("\nVmRSS:"))
	return float64(digits(bytes.TrimLeft(rest, " \t"))) / 1024
}

// metric asks a server for the value of one of its metrics that has no labels.
func metric(ctx context.Context, address, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, ok := bytes.CutPrefix(lines.Bytes(), []byte(name+" ")); ok {
			return strconv.ParseFloat(string(value), 64)
		}
	}
	return 0, errors.New("the server tells nothing of " + name)
}
