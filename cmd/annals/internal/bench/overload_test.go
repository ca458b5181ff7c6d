package bench

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestParseReply(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		want   reply
		length int
		whole  bool
	}{
		"ok":        {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nETag: \"2\"\r\n\r\n{", reply{status: 200}, 62, true},
		"refusal":   {"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 3\r\n\r\n", reply{status: 503}, 74, true},
		"pending":   {"HTTP/1.1 200 OK\r\nAnnals-Synchronous: pending\r\n\r\n", reply{status: 200, pending: true}, 48, true},
		"closing":   {"HTTP/1.1 503 X\r\nConnection: close\r\n\r\n", reply{status: 503, closing: true}, 37, true},
		"unclosed":  {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n", reply{}, 0, false},
		"nothing":   {"", reply{}, 0, false},
		"no status": {"HTTP\r\n\r\n", reply{}, 8, true},
	} {
		got, length, whole := parseReply([]byte(c.text))
		if got != c.want || length != c.length || whole != c.whole {
			t.Errorf("%s: %+v, %d, %v; want %+v, %d, %v", name, got, length, whole, c.want, c.length, c.whole)
		}
	}
}

func TestResidentMB(t *testing.T) {
	t.Parallel()
	if got := residentMB([]byte("Name:\tannals\nVmPeak:\t  999 kB\nVmRSS:\t   20480 kB\nThreads: 9\n")); got != 20 {
		t.Errorf("%v MB", got)
	}
	if got := residentMB(nil); got != 0 {
		t.Errorf("%v MB of nothing", got)
	}
}

func TestHalvesOfCPUs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		all           cpuSet
		first, second string
		ok            bool
	}{
		{cpuSet{0}, "0", "0", false},
		{cpuSet{0, 1}, "0", "1", true},
		{cpuSet{0, 1, 2}, "0-1", "2", true},
		{cpuSet{1, 3, 4, 5, 8, 9}, "1,3-4", "5,8-9", true},
	} {
		first, second, ok := c.all.halves()
		if first.String() != c.first || second.String() != c.second || ok != c.ok {
			t.Errorf("%v: %v and %v, %v; want %s and %s, %v", c.all, first, second, ok, c.first, c.second, c.ok)
		}
	}
}

func TestTightLimitsAreTheDefaultsAt128CallersAndAlwaysBelowTheOffer(t *testing.T) {
	t.Parallel()
	if got := tight(128, 1); got != (limits{usualCommands, usualConnections}) {
		t.Errorf("%+v", got)
	}
	for _, callers := range []int{1, 4, 128, 512, maxCallers} {
		for _, servers := range []int{1, 3} {
			got := tight(callers, servers)
			if offered := overloadFactor * callers; got.commands*servers >= max(offered, servers+1) || got.connections < offered {
				t.Errorf("%d callers, %d servers: %+v", callers, servers, got)
			}
		}
	}
}

// connectionsTo opens connections that post to a handler.
func connectionsTo(t *testing.T, count int, handler http.HandlerFunc) []*connection {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	all := make([]*connection, count)
	for i := range all {
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		all[i] = &connection{Conn: conn, request: []byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")}
	}
	return all
}

func TestOfferCountsWhatWasTakenAndWhatWasRefused(t *testing.T) {
	t.Parallel()
	var seen, refused atomic.Int64
	all := connectionsTo(t, 4, func(w http.ResponseWriter, _ *http.Request) {
		if seen.Add(1)%3 == 0 {
			refused.Add(1)
			w.Header().Set("Content-Length", "6000") // more than a connection's buffer holds
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(bytes.Repeat([]byte("later "), 1000))
		}
	})
	for _, perSecond := range []float64{0, 2000} {
		seen.Store(0)
		refused.Store(0)
		r, err := offer(all, 0, 50*time.Millisecond, perSecond)
		if err != nil {
			t.Fatal(err)
		}
		if r.acceptedInAll+r.refusedInAll != seen.Load() || r.refusedInAll != refused.Load() || r.offered != seen.Load() {
			t.Errorf("at %v/s: %d offered, %d accepted and %d refused of %d, of which %d were refused", perSecond, r.offered,
				r.acceptedInAll, r.refusedInAll, seen.Load(), refused.Load())
		}
		if r.accepted.TotalCount() != r.acceptedInAll || r.refused.TotalCount() != r.refusedInAll {
			t.Errorf("at %v/s: %d and %d latencies", perSecond, r.accepted.TotalCount(), r.refused.TotalCount())
		}
		if most := perSecond*0.05 + float64(len(all)); perSecond > 0 && float64(seen.Load()) > most {
			t.Errorf("at %v/s: %d were offered in 50 ms", perSecond, seen.Load())
		}
	}
}

func TestOfferEndsAtAnAnswerThatIsNeither(t *testing.T) {
	t.Parallel()
	all := connectionsTo(t, 2, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	if _, err := offer(all, 0, time.Minute, 0); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
	all = connectionsTo(t, 1, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := offer(all, 0, time.Minute, 0); err == nil {
		t.Error("a connection that ends is no failure")
	}
}

func TestCommandTellsAnswersApart(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	var header atomic.Value
	header.Store("")
	c := connectionsTo(t, 1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Annals-Synchronous", header.Load().(string))
		w.WriteHeader(int(status.Load()))
	})[0]
	for _, want := range []struct {
		status       int64
		synchronous  string
		later, fails bool
	}{
		{200, "", false, false}, {200, "pending", false, true}, {503, "", true, true}, {429, "", true, true}, {409, "", false, true},
	} {
		status.Store(want.status)
		header.Store(want.synchronous)
		if err := c.command(); (err != nil) != want.fails || errors.Is(err, errLater) != want.later {
			t.Errorf("%+v: %v", want, err)
		}
	}
}
