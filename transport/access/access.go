// Package access records who reads the log: as events of the system's own client, so that reading leaves traces like
// everything else that is done.
package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
)

// Scope is the scope of the idempotency keys under which reads are recorded. They serve a batch that is written again
// because its outcome wasn't known, and can be removed by age.
const Scope = "audit"

// Config says how reads are recorded. Commands is required.
type Config struct {
	Commands eventstore.Runner
	// Interval is how long reads are collected before they are written. 0: each read is on record before it is answered.
	Interval time.Duration
	Limit    int              // events collected at most; a reader beyond waits until they are written; 0: 1,000
	Logger   *slog.Logger     // default: none
	Clock    func() time.Time // default time.Now
}

// Bounds of one command, and of the work under way.
const (
	defaultLimit  = 1000
	commandEvents = 50               // and
	commandBytes  = 1 << 20          // of events as JSON; a command has room for 4 MiB
	parallel      = 8                // commands at a time
	writeTimeout  = 10 * time.Second // of one command
	waitTimeout   = 10 * time.Second // of a reader when the limit is reached
	maxQuery      = 4000             // bytes of a query that are kept
	maxResource   = 500              // and of a path; those of what there is are shorter
)

// Recorder records reads. Several of the same access within an interval become one event; reads that a crash takes before
// they are written are lost, those of exports never are.
type Recorder struct {
	config Config
	stop   chan struct{}
	done   chan struct{}
	wanted chan struct{} // a reader waits for space

	writing sync.Mutex // one flush at a time

	mu     sync.Mutex
	reads  map[readKey]*operations.LogRead
	order  []readKey // of reads
	full   []entry   // that no more is merged into, and those that couldn't be written
	held   int       // events that aren't written yet
	space  chan struct{}
	closed bool
}

// readKey is what reads of one event have in common.
type readKey struct {
	stream                                             domain.ID
	actor, client, roles, route, query, format, reason string
	given                                              bool // the reason
}

// entry is a command to come.
type entry struct {
	actor, requestID string
	stream           domain.ID
	command          operations.AuditCommand
	key              string // of idempotency; "" for what the aggregate records once by itself
	events, bytes    int
}

// New makes a recorder and starts it. Close ends it.
func New(config Config) *Recorder {
	if config.Limit == 0 {
		config.Limit = defaultLimit
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	r := &Recorder{
		config: config, stop: make(chan struct{}), done: make(chan struct{}), wanted: make(chan struct{}, 1),
		reads: make(map[readKey]*operations.LogRead), space: make(chan struct{}),
	}
	go r.run()
	return r
}

func (r *Recorder) now() time.Time { return r.config.Clock().UTC().Truncate(time.Microsecond) }

// Read records that an actor read a page. Reads, FirstAt and LastAt are filled in. When it fails, the read is not on
// record and must not be answered.
func (r *Recorder) Read(ctx context.Context, actor string, read operations.LogRead) error {
	read.Reads, read.FirstAt = 1, r.now()
	read.LastAt = read.FirstAt
	bound(&read.Access)
	resources := make([]string, len(read.Resources))
	for i, resource := range read.Resources {
		resources[i] = cut(resource, maxResource)
	}
	read.Resources = resources
	key := keyOf(actor, read)
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	for {
		space, taken := r.collect(key, read)
		switch {
		case taken:
			return nil
		case space == nil:
			return r.write(ctx, readsEntry(actor, key.stream, []operations.LogRead{read}))
		}
		select {
		case r.wanted <- struct{}{}:
		default: // somebody asked already
		}
		select {
		case <-space:
		case <-ctx.Done():
			return fmt.Errorf("wait until earlier reads are on record: %w", ctx.Err())
		}
	}
}

// collect takes a read to be written later. Where there is no space it says when to try again; space is nil when reads
// aren't collected.
func (r *Recorder) collect(key readKey, read operations.LogRead) (space <-chan struct{}, taken bool) {
	if r.config.Interval <= 0 {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false
	}
	earlier, ok := r.reads[key]
	if ok && earlier.Merge(read) {
		return nil, true
	}
	if r.held >= r.config.Limit {
		return r.space, false
	}
	if ok {
		r.full = append(r.full, readsEntry(key.actor, key.stream, []operations.LogRead{*earlier}))
	} else {
		r.order = append(r.order, key)
	}
	r.reads[key] = &read
	r.held++
	return nil, true
}

func keyOf(actor string, read operations.LogRead) readKey {
	key := readKey{
		stream: operations.AuditDayID(read.Client, actor, read.FirstAt), actor: actor, client: read.Client,
		roles: strings.Join(read.Roles, ","), route: read.Route, query: read.Query, format: read.Format,
	}
	if read.Reason != nil {
		key.reason, key.given = *read.Reason, true
	}
	return key
}

// bound keeps an event within its size.
func bound(a *operations.Access) {
	if a.Roles == nil {
		a.Roles = []string{}
	}
	a.Query = cut(a.Query, maxQuery)
}

// cut shortens a text to so many bytes.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

func readsEntry(actor string, stream domain.ID, reads []operations.LogRead) entry {
	return entry{
		actor: actor, stream: stream, command: operations.RecordReads{Reads: reads}, key: uuid.NewString(), events: len(reads),
	}
}

// Start records that an export begins: when it returns without an error, that is on record for good, and not a byte may
// be handed out before. end is to be called once, when the export is over.
func (r *Recorder) Start(
	ctx context.Context, actor, requestID string, e operations.ExportStarted,
) (end func(delivered operations.Delivered, complete bool), err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("name an export: %w", err)
	}
	bound(&e.Access)
	e.Resource = cut(e.Resource, maxResource)
	started := r.now()
	of := entry{actor: actor, requestID: requestID, stream: domain.ID(id), events: 1}
	of.command = operations.StartExport{Export: e}
	if err := r.write(ctx, of); err != nil {
		return nil, err
	}
	return func(delivered operations.Delivered, complete bool) {
		of.command = operations.EndExport{Export: operations.Exported{
			Access: e.Access, Resource: e.Resource, StartedAt: started, EndedAt: r.now(), Delivered: delivered, Complete: complete,
		}}
		r.end(of)
	}, nil
}

// end records the end of an export, which nobody waits for.
func (r *Recorder) end(of entry) {
	r.mu.Lock()
	collected := !r.closed && r.config.Interval > 0
	if collected {
		r.full = append(r.full, of)
		r.held++
	}
	r.mu.Unlock()
	if collected {
		return
	}
	if err := r.write(context.Background(), of); err != nil {
		r.config.Logger.Error("the end of an export is not on record", "actor", of.actor, "export", of.stream, "error", err)
	}
}

// write records one entry.
func (r *Recorder) write(ctx context.Context, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	command := eventstore.Command{Client: eventstore.SystemClient, Actor: e.actor, RequestID: e.requestID}
	if e.key != "" {
		command.Key = &eventstore.CommandKey{Scope: Scope, Key: e.key, Fingerprint: []byte(e.key)}
	}
	_, err := r.config.Commands.Run(ctx, command, func(ctx context.Context, u *domain.UnitOfWork) error {
		return operations.RecordAudit(ctx, u, e.stream, e.command)
	})
	if err != nil {
		return fmt.Errorf("record who reads the log: %w", err)
	}
	return nil
}

// run writes what is collected until the recorder is closed.
func (r *Recorder) run() {
	defer close(r.done)
	if r.config.Interval <= 0 {
		<-r.stop
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel() // Close tries anew what this breaks off
		<-r.stop
	}()
	ticker := time.NewTicker(r.config.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-r.wanted:
		case <-r.stop:
			return
		}
		if err := r.Flush(ctx); err != nil && ctx.Err() == nil {
			r.config.Logger.Error("reads of the log can't be recorded; they are tried again", "error", err)
		}
	}
}

// Flush writes what is collected. What can't be written is kept for the next time.
func (r *Recorder) Flush(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	entries := r.take()
	failures := make([]error, len(entries))
	var group sync.WaitGroup
	var broken atomic.Bool // then the rest waits for the next time
	slots := make(chan struct{}, parallel)
	for i := range entries {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if failures[i] = errPutOff; broken.Load() {
				return
			}
			if failures[i] = r.write(ctx, entries[i]); failures[i] != nil && !hopeless(failures[i]) {
				broken.Store(true)
			}
		})
	}
	group.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.held
	var all []error
	for i, err := range failures {
		switch {
		case err == nil:
			r.held -= entries[i].events
		case hopeless(err):
			r.held -= entries[i].events
			r.config.Logger.Error("reads of the log are lost", "actor", entries[i].actor, "reads", entries[i].command, "error", err)
		default:
			r.full = append(r.full, entries[i])
			if err != errPutOff {
				all = append(all, err)
			}
		}
	}
	if r.held < before {
		close(r.space)
		r.space = make(chan struct{})
	}
	return errors.Join(all...)
}

var errPutOff = errors.New("not tried, because another write failed")

// hopeless reports whether trying again would not help.
func hopeless(err error) bool {
	var size *eventstore.TooLargeError
	return errors.Is(err, eventstore.ErrInvalidAppend) || errors.As(err, &size)
}

// take gives what is collected as entries, one or more for each stream.
func (r *Recorder) take() []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries := r.full
	byStream := make(map[domain.ID]int) // where the stream's last entry of this round is
	for _, key := range r.order {
		read := *r.reads[key]
		size := encodedSize(read)
		i, ok := byStream[key.stream]
		if ok && entries[i].events < commandEvents && entries[i].bytes+size <= commandBytes {
			command := entries[i].command.(operations.RecordReads)
			entries[i].command = operations.RecordReads{Reads: append(command.Reads, read)}
			entries[i].events++
		} else {
			i = len(entries)
			byStream[key.stream] = i
			entries = append(entries, readsEntry(key.actor, key.stream, []operations.LogRead{read}))
		}
		entries[i].bytes += size
	}
	r.full, r.order = nil, nil
	clear(r.reads)
	return entries
}

// encodedSize is a read's share of a command, but for what every event has.
func encodedSize(read operations.LogRead) int {
	encoded, _ := json.Marshal(read) // can't fail: text, numbers and times
	return len(encoded)
}

// Close writes what is collected, again and again until ctx ends if it must, and ends the recorder. What is recorded
// after that isn't collected. It may be called again.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if first {
		close(r.stop)
	}
	<-r.done
	for {
		err := r.Flush(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("reads of the log are lost: %w", err)
		case <-time.After(closeRetry):
		}
	}
}

// closeRetry is the pause before what couldn't be written at the end is tried again.
const closeRetry = 100 * time.Millisecond
