package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// problem is a refusal of the server.
type problem struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string {
	return fmt.Sprintf("%s (%d): %s", p.Type, p.Status, p.Detail)
}

// story is one actor's run of commands, in order. Its choices come from a random source of its own and every command
// carries an idempotency key derived from seed, story and step: the same seed gives the same story, and a repeated run
// changes nothing.
type story struct {
	run   *run
	name  string
	actor string
	step  int
	fate
}

// answer is what a command gives back.
type answer struct {
	ID      string            `json:"id"`
	OrderID string            `json:"order_id"`
	Events  []json.RawMessage `json:"events"`

	replayed bool // an earlier run did it
}

const attempts = 8

// command sends one command. An overloaded server is asked again, with the same key.
func (s *story) command(ctx context.Context, method, path string, body any) (answer, error) {
	s.step++
	key := fmt.Sprintf("demo-%d-%s-%d", s.run.opts.Seed, s.name, s.step)
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	for attempt := 1; ; attempt++ {
		result, wait, err := s.send(ctx, method, path, key, payload)
		if err == nil {
			s.run.progress.commands.Add(1)
			if result.replayed {
				s.run.progress.replayed.Add(1)
			} else {
				s.run.progress.events.Add(int64(len(result.Events)))
			}
			return result, nil
		}
		if wait == 0 || attempt == attempts {
			return answer{}, fmt.Errorf("%s %s: %w", method, path, err)
		}
		select {
		case <-ctx.Done():
			return answer{}, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// send makes one attempt; wait says after what time another one makes sense, 0: none.
func (s *story) send(ctx context.Context, method, path, key string, payload []byte) (a answer, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.run.opts.URL+path, bytes.NewReader(payload))
	if err != nil {
		return answer{}, 0, err
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Idempotency-Key", key)
	if s.run.opts.Client != "" {
		req.Header.Set("Annals-Client", s.run.opts.Client)
	}
	req.Header.Set("Annals-Actor", s.actor)
	if s.run.opts.APIKey != "" {
		req.Header.Set("Authorization", "Bearer "+s.run.opts.APIKey)
	}
	res, err := s.run.http.Do(req)
	if err != nil {
		return answer{}, time.Second, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return answer{}, time.Second, err
	}
	if res.StatusCode >= 300 {
		refusal := &problem{Status: res.StatusCode, Detail: res.Status}
		if err := json.Unmarshal(data, refusal); err != nil {
			refusal.Type = "about:blank"
		}
		if res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusTooManyRequests {
			wait = 500 * time.Millisecond
			if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
				wait = time.Duration(s) * time.Second
			}
		}
		return answer{}, wait, refusal
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return answer{}, 0, errors.New("the answer isn't JSON: is this an Annals server?")
	}
	a.replayed = res.Header.Get("Idempotency-Replayed") == "true"
	return a, 0, nil
}
