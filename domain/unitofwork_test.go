package domain_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
)

var (
	lampID  = domain.MustParseID("0190a000-0000-7000-8000-00000000000a")
	otherID = domain.MustParseID("0190a000-0000-7000-8000-00000000000b")
)

// shelf is a loader with streams of its own, which counts what it is asked.
type shelf struct {
	streams map[domain.ID]domain.Loaded
	err     error
	loads   int
}

func (s *shelf) Load(_ context.Context, aggregate domain.AnyAggregate, id domain.ID) (domain.Loaded, error) {
	s.loads++
	if loaded, ok := s.streams[id]; ok {
		return loaded, s.err
	}
	return domain.Loaded{State: aggregate.InitialState()}, s.err
}

func shelfWith(loaded domain.Loaded) *shelf {
	return &shelf{streams: map[domain.ID]domain.Loaded{lampID: loaded}}
}

func work(loader domain.Loader, match *domain.Precondition) *domain.UnitOfWork {
	return domain.NewUnitOfWork(loader, domain.Environment{NewID: func() domain.ID { return otherID }, Match: match})
}

func TestStreamCollectsEvents(t *testing.T) {
	t.Parallel()
	ctx, loader := context.Background(), shelfWith(domain.Loaded{State: lampState{Label: "a"}, Version: 4, Position: 9})
	u := work(loader, nil)
	s, err := domain.OpenExisting(ctx, u, lamp, lampID)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := s.Execute(turn{on: true, blink: true}); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if changed, err := s.Execute(turn{on: true}); err != nil || changed {
		t.Fatalf("a command that changes nothing: changed %v, %v", changed, err)
	}
	again, err := domain.Open(ctx, u, lamp, lampID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Execute(turn{on: false}); err != nil {
		t.Fatal(err)
	}
	if loader.loads != 1 {
		t.Errorf("a stream opened twice was read %d times", loader.loads)
	}
	want := lampState{Label: "a", On: false, Switches: 3}
	if s.State() != want || s.Version() != 7 || s.Loaded().Version != 4 || s.ID() != lampID {
		t.Errorf("state %+v at version %d, read at %d", s.State(), s.Version(), s.Loaded().Version)
	}
	changes := u.Work().Changes
	if len(changes) != 1 || changes[0].Loaded.Version != 4 || changes[0].State != any(want) {
		t.Fatalf("changes %+v", changes)
	}
	events := []domain.Event{lampSwitched{}, lampSwitched{On: true}, lampSwitched{}}
	if diff := cmp.Diff(events, changes[0].Events); diff != "" {
		t.Error(diff)
	}
}

func TestRefusalCollectsNothing(t *testing.T) {
	t.Parallel()
	u := work(shelfWith(domain.Loaded{State: lampState{Label: "broken"}, Version: 1}), nil)
	s, err := domain.Open(context.Background(), u, lamp, lampID)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := s.Execute(turn{on: true}); domain.CodeOf(err) != domain.CodeInvalidTransition || changed {
		t.Errorf("changed %v, %v", changed, err)
	}
	if c := u.Work().Changes[0]; len(c.Events) != 0 || c.State != any(lampState{Label: "broken"}) {
		t.Errorf("change %+v", c)
	}
}

func TestStreamThatDoesNotExist(t *testing.T) {
	t.Parallel()
	u := work(&shelf{}, nil)
	if _, err := domain.OpenExisting(context.Background(), u, lamp, lampID); domain.CodeOf(err) != domain.CodeNotFound {
		t.Errorf("got %v", err)
	}
	s, err := domain.Open(context.Background(), u, lamp, lampID)
	if err != nil || s.Exists() {
		t.Fatalf("exists %v, %v", s.Exists(), err)
	}
	if _, err := s.Execute(makeLamp{"a"}); err != nil || !s.Exists() {
		t.Errorf("a stream with a collected event doesn't exist: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	if _, err := domain.Open(context.Background(), work(&shelf{err: broken}, nil), lamp, lampID); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	u := work(shelfWith(domain.Loaded{State: "no lamp", Version: 1}), nil)
	if _, err := domain.Open(context.Background(), u, lamp, lampID); err == nil || domain.CodeOf(err) != "" {
		t.Errorf("a state of another type: %v", err)
	}
	if len(u.Work().Changes) != 0 {
		t.Error("a stream that couldn't be opened is part of the work")
	}
}

func TestTargetChecksThePrecondition(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		match   *domain.Precondition
		version int64
		ok      bool
	}{
		{"none", nil, 3, true},
		{"this version", &domain.Precondition{Versions: []int64{3}}, 3, true},
		{"one of several", &domain.Precondition{Versions: []int64{1, 3}}, 3, true},
		{"another version", &domain.Precondition{Versions: []int64{2}}, 3, false},
		{"no version", &domain.Precondition{}, 3, false},
		{"any", &domain.Precondition{Any: true}, 3, true},
		{"any of what doesn't exist", &domain.Precondition{Any: true}, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := work(shelfWith(domain.Loaded{State: lampState{}, Version: test.version}), test.match)
			s, err := domain.Open(context.Background(), u, lamp, lampID)
			if err != nil {
				t.Fatal(err)
			}
			// What the command itself adds doesn't count.
			if _, err := s.Execute(makeLamp{"a"}); err != nil {
				t.Fatal(err)
			}
			if err := u.Target(s); (err == nil) != test.ok || !test.ok && domain.CodeOf(err) != domain.CodeVersionMismatch {
				t.Errorf("got %v", err)
			}
			if w := u.Work(); w.Target != w.Changes[0] || w.Created {
				t.Errorf("work %+v", w)
			}
		})
	}
}

func TestWorkHoldsAllThatWasCollected(t *testing.T) {
	t.Parallel()
	u := work(&shelf{}, nil)
	read, err := domain.Open(context.Background(), u, lamp, lampID)
	if err != nil {
		t.Fatal(err)
	}
	made := domain.OpenNew(u, lamp)
	u.Create(made)
	if _, err := made.Execute(makeLamp{"a"}); err != nil {
		t.Fatal(err)
	}
	taken := domain.Refuse(domain.CodeDuplicateName, "taken")
	u.Claim("lamp.label", "a", made.ID(), taken)
	u.Release("lamp.label", "b", read.ID())
	u.Attach("x", "1")
	got := u.Work()
	want := domain.Work{
		Changes: []*domain.Change{
			{Aggregate: lamp, ID: lampID, Loaded: domain.Loaded{State: lampState{}}, State: lampState{}},
			{
				Aggregate: lamp, ID: otherID, Loaded: domain.Loaded{State: lampState{}},
				State: lampState{Label: "a"}, Events: []domain.Event{lampMade{Label: "a"}},
			},
		},
		Claims:   []domain.Claim{{Kind: "lamp.label", Value: "a", Owner: otherID, Taken: taken}},
		Releases: []domain.Claim{{Kind: "lamp.label", Value: "b", Owner: lampID}},
		Created:  true, Extras: map[string]string{"x": "1"},
	}
	want.Target = want.Changes[1]
	sameAggregate := cmp.Comparer(func(a, b domain.AnyAggregate) bool { return a == b })
	if diff := cmp.Diff(want, got, sameAggregate); diff != "" {
		t.Error(diff)
	}
}

func TestAggregateAsTheStoreSeesIt(t *testing.T) {
	t.Parallel()
	state := lamp.Fold(lamp.Initial(), lampMade{Label: "a"}, lampSwitched{On: true})
	if want := (lampState{Label: "a", On: true, Switches: 1}); state != want {
		t.Errorf("state %+v", state)
	}
	data, err := lamp.MarshalState(state)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := lamp.UnmarshalState(data); err != nil || back != any(state) {
		t.Errorf("snapshot reads as %+v, %v", back, err)
	}
	if _, err := lamp.UnmarshalState([]byte(`[]`)); err == nil {
		t.Error("a snapshot of another shape is read")
	}
	if _, err := lamp.EvolveState("no lamp", lampSwitched{}); err == nil {
		t.Error("a state of another type evolves")
	}
	if _, err := lamp.EvolveState(state, strayEvent{}); err == nil {
		t.Error("an event of another aggregate is applied")
	}
	if got, err := lamp.EvolveState(state, lampSwitched{}); err != nil || got != any(lampState{Label: "a", Switches: 2}) {
		t.Errorf("state %+v, %v", got, err)
	}
}
