// Package demo fills an Annals server with realistic traffic through its REST API: a shop's month and a small plant's.
package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what to generate and where.
type Options struct {
	URL    string    // of the server, without a trailing slash
	Client string    // the tenant to fill; empty: the one of the key
	APIKey string    // API key or token; empty in open mode
	Seed   uint64    // the same seed gives the same traffic
	Scale  float64   // 1: some thousands of events
	Start  time.Time // the month's first day
	// Parallel is the number of stories told at once.
	Parallel int
	// Progress is called, from one goroutine at a time, after every story.
	Progress func(done, total int)
}

// Summary says what was done.
type Summary struct {
	Commands int64
	Replayed int64 // of the commands, those that an earlier run with the seed had done
	Events   int64 // written
	Stories  int
	Took     time.Duration
}

type run struct {
	opts     Options
	http     *http.Client
	progress struct{ commands, replayed, events atomic.Int64 }
}

// fate makes a story's choices.
type fate struct{ random *rand.Rand }

func (f fate) between(low, high int) int    { return low + f.random.IntN(high-low+1) }
func (f fate) chance(percent int) bool      { return f.random.IntN(100) < percent }
func (f fate) pick(choices []string) string { return choices[f.random.IntN(len(choices))] }

func (r *run) story(name, actor string) *story {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &story{run: r, name: name, actor: actor, fate: fate{rand.New(rand.NewPCG(r.opts.Seed, h.Sum64()))}}
}

// Run generates the traffic.
func Run(ctx context.Context, opts Options) (Summary, error) {
	if opts.Scale <= 0 || opts.Parallel < 1 {
		return Summary{}, errors.New("scale must be above 0, and parallel 1 or more")
	}
	started := time.Now()
	r := &run{opts: opts, http: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: opts.Parallel, MaxConnsPerHost: opts.Parallel},
	}}
	defer r.http.CloseIdleConnections()
	catalogue, err := r.catalogue(ctx)
	if err != nil {
		return r.summary(0, started), err
	}
	// Prices and limits settle before the first cart is filled, so that no story depends on how fast another one is.
	phases := [][]func(context.Context) error{
		append(r.tending(catalogue), r.limits()), append(r.shop(catalogue), r.plant()...),
	}
	total := 0
	for _, stories := range phases {
		total += len(stories)
	}
	told := 0
	for n, stories := range phases {
		order := rand.New(rand.NewPCG(opts.Seed, uint64(n))).Perm(len(stories))
		if err := r.tell(ctx, stories, order, func(n int) {
			if opts.Progress != nil {
				opts.Progress(told+n, total)
			}
		}); err != nil {
			return r.summary(told, started), err
		}
		told += len(stories)
	}
	return r.summary(total, started), nil
}

// tell runs stories in the order given, some at a time.
func (r *run) tell(ctx context.Context, stories []func(context.Context) error, order []int, progress func(done int)) error {
	var mu sync.Mutex
	done := 0
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Parallel)
	for _, i := range order {
		group.Go(func() error {
			if err := stories[i](groupCtx); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// scaled gives how many of what there are perScale of at scale 1.
func (r *run) scaled(perScale int) int { return max(1, int(float64(perScale)*r.opts.Scale)) }

func (r *run) summary(stories int, started time.Time) Summary {
	return Summary{
		Commands: r.progress.commands.Load(), Replayed: r.progress.replayed.Load(), Events: r.progress.events.Load(),
		Stories: stories, Took: time.Since(started),
	}
}
