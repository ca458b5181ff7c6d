package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/transport/access"
)

// bundle is a recorder over a log of its own.
type bundle struct {
	*access.Recorder
	t        *testing.T
	store    *eventstore.Store
	commands *commands
}

// commands runs commands, unless it is told to fail.
type commands struct {
	eventstore.Runner
	mu   sync.Mutex
	fail func(run func() error) error // nil: it runs
}

func (c *commands) Run(
	ctx context.Context, cmd eventstore.Command, useCase func(context.Context, *domain.UnitOfWork) error,
) (result eventstore.CommandResult, err error) {
	c.mu.Lock()
	fail := c.fail
	c.mu.Unlock()
	run := func() error {
		var err error
		result, err = c.Runner.Run(ctx, cmd, useCase)
		return err
	}
	if fail != nil {
		return result, fail(run)
	}
	return result, run()
}

func (c *commands) fails(how func(run func() error) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = how
}

func setup(t *testing.T, config access.Config) *bundle {
	t.Helper()
	registry, err := domain.NewRegistry(operations.Definitions()...)
	check(t, err)
	store, err := eventstore.Open(t.Context(), eventstore.Config{DSN: pgtest.New(t).DSN, Registry: registry})
	check(t, err)
	t.Cleanup(func() { check(t, store.Close(context.Background())) })
	b := &bundle{t: t, store: store, commands: &commands{Runner: store.Runner}}
	config.Commands = b.commands
	b.Recorder = access.New(config)
	t.Cleanup(func() {
		b.commands.fails(nil)
		check(t, b.Close(context.Background()))
	})
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read records that one row was read.
func (b *bundle) read(actor, query string, position int64, resources ...string) {
	b.t.Helper()
	check(b.t, b.Read(b.t.Context(), actor, readOf(query, position, resources...)))
}

func readOf(query string, position int64, resources ...string) operations.LogRead {
	read := operations.LogRead{
		Access:    operations.Access{Client: "acme", Route: "/v1/events", Query: query, Format: "application/json"},
		Resources: resources,
	}
	read.Add(1, position, position)
	return read
}

// recorded is an event on record.
type recorded struct {
	eventstore.Envelope
	operations.Access
	operations.Delivered
	Resources []string  `json:"resources"`
	Reads     int64     `json:"reads"`
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
	Complete  bool      `json:"complete"`
	UpTo      *int64    `json:"up_to"`
}

func (b *bundle) recorded() []recorded {
	b.t.Helper()
	var all []recorded
	filter := eventstore.EventFilter{Client: eventstore.SystemClient}
	check(b.t, b.store.Reader.Scan(b.t.Context(), filter, 0, 0, func(e eventstore.Envelope) error {
		r := recorded{Envelope: e}
		all = append(all, r)
		return json.Unmarshal(e.Data, &all[len(all)-1])
	}))
	return all
}

// shown is what is on record, an event a line.
func (b *bundle) shown() string {
	b.t.Helper()
	var lines []string
	for _, e := range b.recorded() {
		lines = append(lines, fmt.Sprintf("%s %s %q reads %d rows %d", e.EventType, e.ActorID, e.Query, e.Reads, e.Rows))
	}
	return strings.Join(lines, "\n")
}

func TestReadsOfTheSameAreOneEvent(t *testing.T) {
	t.Parallel()
	b := setup(t, access.Config{Interval: time.Hour})
	for position := range int64(3) {
		b.read("ada", "actor_id=x", position+5, fmt.Sprint("/v1/events/", position+5))
	}
	b.read("ada", "", 1)
	b.read("bob", "actor_id=x", 1)
	why := "review"
	read := readOf("actor_id=x", 9)
	read.Reason, read.Roles = &why, []string{"auditor"}
	check(t, b.Read(t.Context(), "ada", read))
	if got := b.shown(); got != "" {
		t.Fatalf("recorded at once: %s", got)
	}
	check(t, b.Flush(t.Context()))
	events := b.recorded()
	if len(events) != 4 {
		t.Fatal(b.shown())
	}
	streams := make(map[domain.ID]int)
	for _, e := range events {
		streams[e.AggregateID]++
		if e.Query != "actor_id=x" || e.ActorID != "ada" || e.Reason != nil {
			continue
		}
		if e.Reads != 3 || e.Rows != 3 || *e.FromPosition != 5 || *e.ToPosition != 7 || len(e.Resources) != 3 || e.FirstAt.After(e.LastAt) ||
			e.ClientID != eventstore.SystemClient || e.AggregateID != operations.AuditDayID("acme", "ada", e.FirstAt) {
			t.Errorf("%s", e.Data)
		}
	}
	if len(streams) != 2 || streams[operations.AuditDayID("acme", "ada", time.Now())] != 3 {
		t.Errorf("streams %v", streams)
	}
	check(t, b.Flush(t.Context()))
	if len(b.recorded()) != 4 {
		t.Errorf("recorded twice: %s", b.shown())
	}
	if last := events[len(events)-1]; last.Reason != nil && (*last.Reason != why || last.Roles[0] != "auditor") {
		t.Errorf("%s", last.Data)
	}
}

func TestWithoutAnIntervalReadsAreOnRecordFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, access.Config{})
	b.read("ada", "", 1)
	b.read("ada", "", 2)
	if got, want := b.shown(), `audit.read ada "" reads 1 rows 1`; got != want+"\n"+want {
		t.Errorf("%s", got)
	}
	b.commands.fails(func(func() error) error { return eventstore.ErrUnavailable })
	if err := b.Read(t.Context(), "ada", readOf("", 3)); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("a read that isn't on record: %v", err)
	}
}

func TestTheIntervalWrites(t *testing.T) {
	t.Parallel()
	b := setup(t, access.Config{Interval: time.Millisecond})
	b.read("ada", "", 1)
	for t.Context().Err() == nil && b.shown() == "" {
	}
}

func TestAFullBufferMakesReadersWait(t *testing.T) {
	t.Parallel()
	b := setup(t, access.Config{Interval: time.Hour, Limit: 3})
	for n := range 10 { // the fourth, and each third after it, has the others written
		b.read("ada", fmt.Sprint("actor_id=", n), 1)
	}
	if got := len(b.recorded()); got < 6 || got > 9 {
		t.Errorf("%d on record before the end:\n%s", got, b.shown())
	}
	// While nothing can be written, a reader waits as long as it lives and is then refused; reads of what is collected go on.
	check(t, b.Flush(t.Context()))
	tried := make(chan struct{}, 100)
	b.commands.fails(func(func() error) error {
		tried <- struct{}{}
		return eventstore.ErrUnavailable
	})
	for n := range 3 {
		b.read("bob", fmt.Sprint("actor_id=", n), 1)
	}
	b.read("bob", "actor_id=2", 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-tried
		cancel()
	}()
	if err := b.Read(ctx, "bob", readOf("actor_id=3", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("a read beyond the limit: %v", err)
	}
	b.commands.fails(nil)
	check(t, b.Flush(t.Context()))
	if events := b.recorded(); len(events) != 13 || events[12].Reads+events[11].Reads+events[10].Reads != 4 {
		t.Errorf("%s", b.shown())
	}
}

// Whatever became of a write, what it recorded is there once.
func TestFailedWritesAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(run func() error) error{
		"not written": func(func() error) error { return eventstore.ErrUnavailable },
		"written all the same": func(run func() error) error {
			return errors.Join(eventstore.ErrOutcomeUnknown, run())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, access.Config{Interval: time.Hour})
			end, err := b.Start(t.Context(), "ada", "request-1", operations.ExportStarted{Access: operations.Access{Client: "*"}})
			check(t, err)
			b.commands.fails(fail)
			b.read("ada", "", 1)
			end(operations.Delivered{}, true)
			if err := b.Flush(t.Context()); err == nil {
				t.Fatal("no error")
			}
			b.read("ada", "", 2)
			b.commands.fails(nil)
			check(t, b.Close(context.Background()))
			check(t, b.Close(context.Background()))
			count := make(map[string]int64)
			for _, e := range b.recorded() {
				count[e.EventType] += max(e.Reads, 1)
			}
			if count["audit.read"] != 2 || count["audit.export_started"] != 1 || count["audit.exported"] != 1 {
				t.Errorf("%v:\n%s", count, b.shown())
			}
			b.read("ada", "", 3) // a straggler after the end is on record as well
			if got := b.shown(); !strings.HasSuffix(got, `audit.read ada "" reads 1 rows 1`) {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestExports(t *testing.T) {
	t.Parallel()
	b := setup(t, access.Config{Interval: time.Hour})
	upTo := int64(9)
	asked := operations.ExportStarted{
		Access: operations.Access{Client: "acme", Route: "/v1/audit-log", Format: "text/csv", Query: strings.Repeat("é", 5000)}, After: 2, UpTo: &upTo,
	}
	end, err := b.Start(t.Context(), "ada", "request-1", asked)
	check(t, err)
	started := b.recorded()
	if len(started) != 1 || started[0].RequestID != "request-1" || *started[0].UpTo != 9 || len(started[0].Query) > 4100 {
		t.Fatalf("%+v", started)
	}
	var rows operations.Delivered
	rows.Add(4, 3, 8)
	end(rows, false)
	if len(b.recorded()) != 1 {
		t.Error("the end isn't collected")
	}
	check(t, b.Flush(t.Context()))
	last := b.recorded()[1]
	if last.AggregateID != started[0].AggregateID || last.Complete || last.Rows != 4 || *last.ToPosition != 8 || last.RequestID != "request-1" {
		t.Errorf("%s", last.Data)
	}
	b.commands.fails(func(func() error) error { return eventstore.ErrUnavailable })
	if _, err := b.Start(t.Context(), "ada", "", asked); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("an export that isn't on record: %v", err)
	}
}

// However long the paths, queries and reasons of reads are, and however they would merge, each read is on record.
func TestNoReadIsTooLarge(t *testing.T) {
	t.Parallel()
	b := setup(t, access.Config{Interval: time.Hour})
	b.read("eve", "", 7, "/v1/events/7")
	long := "/v1/events/" + strings.Repeat("<", 60_000)
	for i := range 150 {
		b.read("eve", "", 1, fmt.Sprint("/v1/streams/", i, strings.Repeat("<", 450)))
	}
	for i := range 20 {
		b.read("eve", "", 1, fmt.Sprint(long, i))
	}
	reason := strings.Repeat("<", 2000)
	for i := range 60 { // of one stream: more than a command has room for
		read := readOf(fmt.Sprint(i, strings.Repeat("&", 5000)), 1)
		read.Reason = &reason
		for j := range 30 {
			read.Resources = append(read.Resources, fmt.Sprint(j, strings.Repeat("<", 450)))
		}
		check(t, b.Read(t.Context(), "eve", read))
	}
	check(t, b.Flush(t.Context()))
	var reads int64
	first := false
	for _, r := range b.recorded() {
		reads += r.Reads
		first = first || slices.Contains(r.Resources, "/v1/events/7")
	}
	if reads != 1+150+20+60 || !first {
		t.Errorf("%d reads are on record, the first: %t", reads, first)
	}
}

// What can't be recorded by the end is said, and so is what never can be.
func TestWhatIsLostIsSaid(t *testing.T) {
	t.Parallel()
	b := setup(t, access.Config{Interval: time.Hour})
	b.read("nul \x00", "", 1)
	b.read("ada", "", 1)
	check(t, b.Flush(t.Context()))
	if got := b.shown(); got != `audit.read ada "" reads 1 rows 1` {
		t.Errorf("%s", got)
	}
	b.read("ada", "", 1)
	ctx, cancel := context.WithCancel(t.Context())
	b.commands.fails(func(func() error) error {
		cancel()
		return eventstore.ErrUnavailable
	})
	if err := b.Close(ctx); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("closed with reads that aren't on record: %v", err)
	}
}
