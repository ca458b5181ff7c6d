package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"annals/eventstore/pgtest"
)

// news reports whether a wait for types after a position ends at once.
func news(s *Signal, after int64, types ...string) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.WaitTypes(ctx, after, types)
	return err == nil
}

func TestSignalKnowsTypes(t *testing.T) {
	t.Parallel()
	type wait struct {
		after int64
		types []string
		want  bool
	}
	for name, c := range map[string]struct {
		announce func(s *Signal)
		waits    []wait
	}{
		"nothing yet": {func(*Signal) {}, []wait{{10, nil, false}, {10, []string{"a"}, false}, {9, []string{"a"}, true}}},
		"written here": {func(s *Signal) { s.announceTypes(11, []string{"a", "b", "a"}) }, []wait{
			{10, nil, true}, {10, []string{"a"}, true}, {12, []string{"a"}, true}, {13, []string{"a"}, false},
			{10, []string{"b"}, true}, {12, []string{"b"}, false}, {12, []string{"c", "a"}, true}, {10, []string{"c"}, false},
		}},
		"written elsewhere": {func(s *Signal) { s.Announce(12) }, []wait{{10, []string{"c"}, true}, {12, []string{"c"}, false}}},
		"written elsewhere, of types": {func(s *Signal) { s.hear("12 11 a b") }, []wait{
			{10, nil, true}, {11, []string{"a"}, true}, {12, []string{"a"}, false}, {10, []string{"b"}, true},
			{10, []string{"c"}, false}, {9, []string{"c"}, true},
		}},
		"written elsewhere after what wasn't heard of": {func(s *Signal) { s.hear("15 14 a") }, []wait{
			{12, []string{"c"}, true}, {13, []string{"c"}, false}, {14, []string{"a"}, true}, {15, nil, false},
		}},
		"elsewhere, heard after what was written here": {func(s *Signal) { s.announceTypes(13, []string{"a"}); s.hear("12 11 c") }, []wait{
			{11, []string{"c"}, true}, {12, []string{"c"}, false}, {12, nil, true}, {13, nil, false},
		}},
		"the head alone": {func(s *Signal) { s.hear("12") }, []wait{{11, []string{"c"}, true}, {12, nil, false}}},
		"what isn't an announcement": {func(s *Signal) {
			for _, text := range []string{"", " ", "x", "12 x a", "12 13 a", "12 0 a", "12 -1 a", "x 11 a"} {
				s.hear(text)
			}
		}, []wait{{10, nil, false}, {10, []string{"a"}, false}}},
		"more types than are kept apart": {func(s *Signal) {
			types := make([]string, mostTypes+1)
			for i := range types {
				types[i] = strconv.Itoa(i)
			}
			s.hear("12 11 " + strings.Join(types, " "))
		}, []wait{{11, []string{"c"}, true}, {12, []string{"c"}, false}}},
		"written elsewhere and here": {func(s *Signal) { s.announceTypes(13, []string{"a"}) }, []wait{
			{11, []string{"c"}, true}, {12, []string{"c"}, false}, {12, []string{"a"}, true},
		}},
		"here, heard late": {func(s *Signal) { s.Announce(14); s.announceTypes(11, []string{"a"}) }, []wait{
			{13, []string{"c"}, true}, {14, nil, false}, {14, []string{"a"}, false},
		}},
		"an answer that tells of nothing new": {func(s *Signal) { s.announceTypes(11, nil) }, []wait{{10, nil, false}, {10, []string{"a"}, false}}},
		"an answer that tells of what was lost": {func(s *Signal) { s.announceTypes(13, nil) }, []wait{
			{10, nil, true}, {11, []string{"c"}, true}, {12, nil, false},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSignal(10)
			c.announce(s)
			for _, w := range c.waits {
				if got := news(s, w.after, w.types...); got != w.want {
					t.Errorf("news after %d of %v: %v", w.after, w.types, got)
				}
			}
		})
	}
}

func TestSignalWakesWhomItConcerns(t *testing.T) {
	t.Parallel()
	s := NewSignal(0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(map[string]chan error)
	for name, types := range map[string][]string{"any": nil, "a": {"a"}, "c": {"c"}, "poked": {"d"}} {
		ended[name] = make(chan error, 1)
		go func() {
			_, err := s.WaitTypes(ctx, 0, types)
			ended[name] <- err
		}()
	}
	pgtest.Eventually(t, "four wait", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.waiters) == 4 })
	s.announceTypes(1, []string{"a"})
	for _, name := range []string{"any", "a"} {
		if err := <-ended[name]; err != nil {
			t.Error(name, err)
		}
	}
	if n := len(s.waiters); n != 2 {
		t.Errorf("%d still wait, want 2", n)
	}
	s.announceTypes(2, []string{"c"})
	if err := <-ended["c"]; err != nil {
		t.Error(err)
	}
	s.Poke()
	if err := <-ended["poked"]; err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := s.Wait(ctx, 2); !errors.Is(err, context.Canceled) || len(s.waiters) != 0 {
		t.Error(err, len(s.waiters))
	}
}

// The writer's own notification says less than the writer has told, and is left out; one of any other session counts.
func TestOwnNotificationsAreLeftOut(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := openSequencer(t, db.DSN)
	mustAppend(t, s, onStream(freshID(), 0, 2))
	if _, err := s.link.row(`SELECT pg_notify('annals_events', '90')::text, $1::text`, 2, ""); err != nil {
		t.Fatal(err)
	}
	db.MustExec(`SELECT pg_notify('annals_events', '50')`)
	for s.Signal().Head() < 50 {
		if _, err := s.Signal().Wait(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
	}
	if head := s.Signal().Head(); head != 50 {
		t.Errorf("the head is %d: the writer's own notification was taken for another's", head)
	}
}

// A node hears from another what types of events were written, by the lone caller's way and by a batch.
func TestTypesOfOtherNodesAppends(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	writer, listener := openSequencer(t, db.DSN), openSequencer(t, db.DSN)
	stream := freshID()
	for _, versions := range []int64{1, 3} { // events at once
		before := listener.Signal().Head()
		request := onStream(stream, before, int(versions))
		request.Events[versions-1].EventType = "product.renamed"
		mustAppend(t, writer, request)
		if _, err := listener.Signal().Wait(t.Context(), before+versions-1); err != nil {
			t.Fatal(err)
		}
		if s := listener.Signal(); !news(s, before, "product.renamed") || news(s, before, "cart.created") {
			t.Errorf("after %d events at once the other node doesn't know their types", versions)
		}
	}
}

func TestTypesOfAppends(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	d := &lossyDial{}
	s := openSequencer(t, db.DSN, lossy(d))
	mustAppend(t, s, onStream(freshID(), 0, 3))
	if !news(s.Signal(), 2, "product.renamed") || news(s.Signal(), 0, "cart.created") {
		t.Error("the signal doesn't know the types of an append")
	}
	if head := s.Signal().Head(); head != 3 {
		t.Errorf("the head is %d", head)
	}
	// What was committed without an answer could be anything to those who wait.
	d.armed.Store(1)
	mustAppend(t, s, onStream(freshID(), 0, 1))
	if d.lost.Load() != 1 {
		t.Fatal("no answer was lost: the test tests nothing")
	}
	if head := s.Signal().Head(); head != 4 || !news(s.Signal(), 3, "cart.created") {
		t.Errorf("the head is %d", head)
	}
}

// A batch of more types than an announcement holds is announced as a batch of any types.
func TestManyTypesAreNotTold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	writer, listener := openSequencer(t, db.DSN), openSequencer(t, db.DSN)
	for _, c := range []struct {
		name  string
		types int
		width int
	}{{"many", 100, 4}, {"long", 60, 90}} {
		before := listener.Signal().Head()
		request := onStream(freshID(), 0, c.types)
		for i := range request.Events {
			request.Events[i].EventType = fmt.Sprintf("%s.%0*d", c.name, c.width, i)
		}
		mustAppend(t, writer, request)
		if _, err := listener.Signal().Wait(t.Context(), before+int64(c.types)-1); err != nil {
			t.Fatal(err)
		}
		if !news(listener.Signal(), before, "cart.created") {
			t.Errorf("%s: the other node believes that it knows the types", c.name)
		}
	}
}

// A batch of several requests is announced with the types of them all.
func TestTypesOfABatch(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	writer, listener := openSequencer(t, db.DSN, patient), openSequencer(t, db.DSN)
	release := holdLock(t, db)
	defer release()
	var appends sync.WaitGroup
	send := func(eventType string) {
		request := onStream(freshID(), 0, 1)
		request.Events[0].EventType = eventType
		appends.Go(func() {
			if _, err := writer.Append(t.Context(), request); err != nil {
				t.Error(describe(err))
			}
		})
	}
	send("cart.created")
	awaitBlocked(t, db, writer.link.backend.pid)
	types := []string{"product.created", "product.renamed", "order.placed"}
	for _, eventType := range types {
		send(eventType)
	}
	awaitQueued(t, writer, len(types))
	release()
	appends.Wait()
	if _, err := listener.Signal().Wait(t.Context(), int64(len(types))); err != nil {
		t.Fatal(err)
	}
	for _, eventType := range types {
		if !news(listener.Signal(), 1, eventType) {
			t.Errorf("the other node hasn't heard of %s", eventType)
		}
	}
	if news(listener.Signal(), 1, "cart.created") {
		t.Error("the other node doesn't know the batch's types")
	}
}
