package rest

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxBuckets is how many clients' rates are remembered.
const maxBuckets = 16_384

// rates holds a token bucket for each client. The zero rate lets everything pass.
type rates struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu       sync.Mutex
	byClient map[string]*rate.Limiter
	swept    time.Time
}

// newRates lets each client send perSecond requests, and burst at once; burst 0 is what a second brings, at least one.
func newRates(perSecond float64, burst int) *rates {
	if burst == 0 {
		burst = int(math.Ceil(min(perSecond, math.MaxInt32)))
	}
	return &rates{rate: rate.Limit(perSecond), burst: max(burst, 1), now: time.Now, byClient: make(map[string]*rate.Limiter)}
}

// take takes a token of a client, or refuses its request and says when there will be one.
func (t *rates) take(client string) error {
	if t.rate <= 0 {
		return nil
	}
	now := t.now()
	reservation := t.bucket(client, now).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait <= 0 {
		return nil
	}
	reservation.CancelAt(now)
	p := newProblem("too-many-requests", fmt.Sprintf("the client may send %g requests a second, and %d at once",
		float64(t.rate), t.burst))
	p.retryAfter, p.shed = wait, true
	return p
}

func (t *rates) bucket(client string, now time.Time) *rate.Limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b, ok := t.byClient[client]; ok {
		return b
	}
	if len(t.byClient) >= maxBuckets {
		t.evict(now)
	}
	b := rate.NewLimiter(t.rate, t.burst)
	t.byClient[client] = b
	return b
}

// evict makes room. A full bucket is as good as none; when all are in use any client begins anew. mu is held.
func (t *rates) evict(now time.Time) {
	if now.Sub(t.swept) >= time.Second {
		t.swept = now
		for client, b := range t.byClient {
			if b.TokensAt(now) >= float64(t.burst) {
				delete(t.byClient, client)
			}
		}
	}
	for client := range t.byClient {
		if len(t.byClient) < maxBuckets {
			return
		}
		delete(t.byClient, client)
	}
}
