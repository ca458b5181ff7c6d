// Package check runs recorded events through what this program makes of them: the schema of the version they were
// recorded in, the upcasters, and the aggregate's fold.
package check

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"annals/domain"
	"annals/eventstore"
)

// Log is where the events are read, as eventstore.Reader gives them. A stream without events is a not-found refusal.
type Log interface {
	Head(ctx context.Context) (int64, error)
	Page(ctx context.Context, f eventstore.EventFilter, after int64, limit int) (eventstore.Page, error)
	Stream(ctx context.Context, client, aggregateType string, id domain.ID, afterVersion int64, limit int) (eventstore.StreamPage, error)
}

// Options say what to check. The zero value checks the whole log.
type Options struct {
	From, Until int64 // positions, both inclusive; 0: from the first one, and until the head at the start
	Workers     int   // that decode; 0: one per processor
	// Streams and Bytes bound the states that are kept at a time; the size of a state is taken to be that of its events.
	// 0: 200,000 and 256 MiB.
	Streams, Bytes int
	// Progress is told the position reached, and the last one, once a page.
	Progress func(position, until int64)
}

// Failure is an event that this program can't work with.
type Failure struct {
	Position      int64     `json:"position"`
	EventID       domain.ID `json:"event_id"`
	SchemaVersion int       `json:"schema_version"`
	Error         string    `json:"error"`
}

// TypeReport is what was found of one event type.
type TypeReport struct {
	EventType string   `json:"event_type"`
	Events    int64    `json:"events"`
	Failed    int64    `json:"failed"`
	First     *Failure `json:"first_failure"`
}

// Report is what was found.
type Report struct {
	From   int64 `json:"from"` // positions, both inclusive
	Until  int64 `json:"until"`
	Events int64 `json:"events"` // checked
	Failed int64 `json:"failed"` // of those
	// Unfolded are events that couldn't be folded only because one before them in their stream has failed. They were
	// decoded.
	Unfolded        int64        `json:"unfolded"`
	Seconds         float64      `json:"seconds"`
	EventsPerSecond float64      `json:"events_per_second"`
	Types           []TypeReport `json:"types"` // in the order of their names
}

// maxTypes bounds the event types that are told apart: a broken log may hold any number of names.
const (
	maxTypes   = 1000
	otherTypes = "(other types)"
	pageEvents = 1000
)

// Run checks events in the order of positions. It fails when the log can't be read; what is wrong with events is in the
// report, also with an error.
//
// Memory is bounded whatever the log holds: a few pages of the log under way, and the states of the streams used last.
// A stream whose state was dropped is folded anew from its beginning when its next event comes.
func Run(ctx context.Context, log Log, registry *domain.Registry, o Options) (report Report, err error) {
	start := time.Now()
	head, err := log.Head(ctx)
	if err != nil {
		return report, err
	}
	if o.Until <= 0 || o.Until > head {
		o.Until = head
	}
	o.From = max(o.From, 1)
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	reader, err := newDecoder(registry)
	if err != nil {
		return report, err
	}
	r := &run{
		log: log, decoder: reader, report: Report{From: o.From, Until: o.Until}, types: make(map[string]*TypeReport),
		folds: newFolds(log, reader, registry, or(o.Streams, 200_000), or(o.Bytes, 256<<20)), last: o.From - 1, progress: o.Progress,
	}
	err = r.all(ctx, o)
	report = r.report
	for _, name := range slices.Sorted(maps.Keys(r.types)) {
		report.Types = append(report.Types, *r.types[name])
	}
	if report.Types == nil {
		report.Types = []TypeReport{}
	}
	if report.Seconds = time.Since(start).Seconds(); report.Seconds > 0 {
		report.EventsPerSecond = float64(report.Events) / report.Seconds
	}
	return report, err
}

func or(value, fallback int) int {
	if value <= 0 {
		return fallback
	}
	return value
}

// page is a part of the log on its way through the decoders.
type page struct {
	events []decoded
	done   chan struct{} // closed once they are decoded
	err    error         // the log couldn't be read on
}

// run is one check under way.
type run struct {
	log      Log
	decoder  *decoder
	folds    *folds
	report   Report
	types    map[string]*TypeReport
	last     int64 // position
	progress func(position, until int64)
}

// all reads pages, decodes several at a time, and folds them in order.
func (r *run) all(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, order := make(chan *page), make(chan *page, o.Workers)
	go r.read(ctx, o, work, order)
	for range o.Workers {
		go func() {
			for p := range work {
				for i := range p.events {
					r.decoder.decode(&p.events[i])
				}
				close(p.done)
			}
		}()
	}
	for p := range order {
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.err != nil {
			return p.err
		}
		for i := range p.events {
			if err := r.judge(ctx, &p.events[i]); err != nil {
				return err
			}
		}
		if r.progress != nil {
			r.progress(r.last, o.Until)
		}
	}
	return ctx.Err()
}

// read sends the pages of the log to the decoders and, in order, to whoever folds.
func (r *run) read(ctx context.Context, o Options, work, order chan<- *page) {
	defer close(order)
	defer close(work)
	for after := o.From - 1; after < o.Until; {
		found, err := r.log.Page(ctx, eventstore.EventFilter{Client: eventstore.AllClients}, after,
			int(min(pageEvents, o.Until-after)))
		p := &page{err: err, done: make(chan struct{})}
		for _, e := range found.Events {
			if e.Position <= o.Until { // a gap lets a page reach further
				p.events = append(p.events, decoded{Envelope: e})
			}
		}
		select {
		case order <- p:
		case <-ctx.Done():
			return
		}
		if err != nil {
			close(p.done)
			return
		}
		select {
		case work <- p:
		case <-ctx.Done():
			return
		}
		after = found.NextAfter
	}
}

// judge counts one event with what is wrong with it. Its error means that the log couldn't be read.
func (r *run) judge(ctx context.Context, e *decoded) error {
	r.report.Events++
	t := r.typeOf(e.EventType)
	t.Events++
	fault := e.fault
	if fault == nil && e.Position != r.last+1 {
		fault = fmt.Errorf("position %d follows position %d", e.Position, r.last)
	}
	r.last = e.Position
	folded, err := r.folds.add(ctx, e)
	switch {
	case err != nil:
		return err
	case fault == nil:
		fault = folded
	}
	if fault == errUnfolded {
		r.report.Unfolded++
		return nil
	}
	if fault == nil {
		return nil
	}
	r.report.Failed++
	if t.Failed++; t.First == nil {
		t.First = &Failure{Position: e.Position, EventID: e.EventID, SchemaVersion: e.SchemaVersion, Error: fault.Error()}
	}
	return nil
}

func (r *run) typeOf(name string) *TypeReport {
	t, ok := r.types[name]
	if !ok && len(r.types) >= maxTypes {
		name = otherTypes
		t, ok = r.types[name]
	}
	if !ok {
		t = &TypeReport{EventType: name}
		r.types[name] = t
	}
	return t
}
