package subjectkeys_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/order"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore"
	"annals/eventstore/pgtest"
	"annals/eventstore/subjectkeys"
	"annals/eventstore/subjectkeys/keystest"
)

// node is an event store with keys.
type node struct {
	*eventstore.Store
	keys     *subjectkeys.Keys
	registry *domain.Registry
}

func open(t testing.TB, dsn string) *node {
	t.Helper()
	registry, err := domain.NewRegistry(slices.Concat(commerce.Definitions(), manufacturing.Definitions())...)
	check(t, err)
	n := &node{keys: keystest.Open(t, dsn), registry: registry}
	n.Store, err = eventstore.Open(ctx, eventstore.Config{
		DSN: dsn, Registry: registry, Keys: n.keys, CommandConns: 2, QueryConns: 2,
	})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close(context.Background())) })
	return n
}

// state is a new stream of a personal event.
type stated struct {
	event domain.Event
	start func(u *domain.UnitOfWork) error
}

func stateOrder(e order.Created) stated {
	return stated{e, func(u *domain.UnitOfWork) error {
		s := domain.OpenNew(u, order.Aggregate)
		u.Create(s)
		_, err := s.Execute(order.Create{
			CartID: e.CartID, CustomerID: e.CustomerID, Lines: e.Lines, ShippingAddress: e.ShippingAddress, Currency: e.Currency,
		})
		return err
	}}
}

func stateInspection(e inspection.Recorded) stated {
	return stated{e, func(u *domain.UnitOfWork) error {
		s := domain.OpenNew(u, inspection.Aggregate)
		u.Create(s)
		_, err := s.Execute(inspection.Record{Inspection: inspection.Inspection(e)})
		return err
	}}
}

func stateWorkOrder(e workorder.Created) stated {
	return stated{e, func(u *domain.UnitOfWork) error {
		s := domain.OpenNew(u, workorder.Aggregate)
		u.Create(s)
		_, err := s.Execute(workorder.Create(e))
		return err
	}}
}

func (n *node) append(t testing.TB, client string, s stated) eventstore.CommandResult {
	t.Helper()
	result, err := n.Runner.Run(ctx, eventstore.Command{Client: client, Actor: "tester"},
		func(_ context.Context, u *domain.UnitOfWork) error { return s.start(u) })
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func anOrder(customer *string) order.Created {
	second := domain.Personal("Flat 2")
	return order.Created{
		CustomerID: customer, Lines: []order.Line{}, Currency: "EUR",
		ShippingAddress: order.Address{StreetLine1: "Elm Street 13", StreetLine2: &second, City: "Springfield", PostalCode: "62701", Country: "US"},
	}
}

// drawn draws personal text as people could send it, and worse.
func drawn(t *rapid.T, name string) domain.Personal {
	text := rapid.OneOf(
		rapid.StringOfN(rapid.RuneFrom(nil, unicode.Letter, unicode.Punct, unicode.Symbol), 1, 40, -1),
		rapid.SampledFrom([]string{"[erased]", `"\`, "<&>", "\u2028", "annals:sealed:1:", "annals:sealed:1:AAAA", "\x80", "é", strings.Repeat("x", 200)}),
	).Draw(t, name)
	return domain.Personal(strings.ToValidUTF8(text, "?"))
}

func optional(t *rapid.T, name string) *domain.Personal {
	if rapid.Bool().Draw(t, name+" is there") {
		text := drawn(t, name)
		return &text
	}
	return nil
}

func drawStated(t *rapid.T) stated {
	switch rapid.SampledFrom([]string{"order", "inspection", "work order"}).Draw(t, "event") {
	case "order":
		e := anOrder(nil)
		if rapid.Bool().Draw(t, "with a customer") {
			customer := rapid.SampledFrom([]string{"c-1", "c-2"}).Draw(t, "customer")
			e.CustomerID = &customer
		}
		e.ShippingAddress = order.Address{
			StreetLine1: drawn(t, "street"), StreetLine2: optional(t, "street 2"), City: drawn(t, "city"),
			State: optional(t, "state"), PostalCode: drawn(t, "code"), Country: "DE",
		}
		return stateOrder(e)
	case "inspection":
		return stateInspection(inspection.Recorded{Stage: inspection.StageFinal, InspectedOn: "2026-01-06", Inspector: optional(t, "inspector")})
	default:
		return stateWorkOrder(workorder.Created{
			Number: "WO", ProductCode: "P", ReceivedOn: "2026-01-05", DueOn: "2026-01-30", Workflow: workorder.WorkflowStandard,
			CustomerName: optional(t, "customer name"),
		})
	}
}

// Whatever text a personal event carries: it is recorded sealed, read as it was, byte for byte, and read as erased once its
// key is destroyed, in the event and in the state.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	n := open(t, pgtest.New(t).DSN)
	rapid.Check(t, func(r *rapid.T) {
		s := drawStated(r)
		want, err := n.registry.Encode(s.event)
		check(t, err)
		result := n.append(t, "acme", s)
		d, _ := n.registry.EventDefinition(s.event.EventType())
		texts := 0
		d.Personal().Each(s.event, func(domain.Personal) { texts++ })

		read, err := n.Reader.Event(ctx, "acme", result.Position)
		check(t, err)
		if !bytes.Equal(read.Data, want.Data) {
			r.Fatalf("read %s, recorded %s", read.Data, want.Data)
		}
		recorded, err := n.Reader.AsRecorded().Event(ctx, "acme", result.Position)
		check(t, err)
		if keys := eventstore.SealedWith(recorded.Data); texts > 0 != (len(keys) == 1) {
			r.Fatalf("%d texts are sealed with %v in %s", texts, keys, recorded.Data)
		}
		sealed, err := n.registry.Decode(recorded.EventType, recorded.SchemaVersion, recorded.Data)
		check(t, err)
		d.Personal().Each(sealed, func(text domain.Personal) {
			if !sealedText.MatchString(string(text)) {
				r.Fatalf("recorded in the clear: %s", recorded.Data)
			}
		})
		aggregate, _ := n.registry.Aggregate(result.AggregateType)
		wantState, err := aggregate.EvolveState(aggregate.InitialState(), s.event)
		check(t, err)
		n.stateIs(r, result, wantState)
		if texts == 0 {
			return
		}
		_, err = n.keys.Erase(ctx, "acme", d.Subject(s.event, result.ID))
		check(t, err)
		erased := d.Personal().Map(s.event, func(domain.Personal) domain.Personal { return domain.Erased }).(domain.Event)
		want, err = n.registry.Encode(erased)
		check(t, err)
		if read, err = n.Reader.Event(ctx, "acme", result.Position); err != nil || !bytes.Equal(read.Data, want.Data) {
			r.Fatalf("after the erasure read %s, %v", read.Data, err)
		}
		wantState, err = aggregate.EvolveState(aggregate.InitialState(), erased)
		check(t, err)
		n.stateIs(r, result, wantState)
	})
}

var sealedText = regexp.MustCompile(`^annals:sealed:1:[A-Za-z0-9_-]{102,}$`)

// stateIs wants the state in every way in which it is read: from the cache, anew, and as the command left it.
func (n *node) stateIs(t *rapid.T, result eventstore.CommandResult, want any) {
	target := eventstore.StateAt{AggregateType: result.AggregateType, ID: result.ID, ClientID: "acme", Loaded: *result.Target}
	for name, read := range map[string]func() (eventstore.StateAt, error){
		"of the command": func() (eventstore.StateAt, error) { return n.States.Open(ctx, target) },
		"current": func() (eventstore.StateAt, error) {
			return n.States.Current(ctx, "acme", result.AggregateType, result.ID)
		},
		"at its version": func() (eventstore.StateAt, error) {
			return n.States.AtVersion(ctx, "*", result.AggregateType, result.ID, 1)
		},
	} {
		got, err := read()
		if diff := cmp.Diff(want, got.State); err != nil || diff != "" {
			t.Fatalf("the state %s: %v\n%s", name, err, diff)
		}
	}
}

// The stored form: the shape of the event stays, each personal text is sealed by itself, and what isn't personal isn't.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	n := open(t, pgtest.New(t).DSN)
	customer := "c-1"
	result := n.append(t, "acme", stateOrder(anOrder(&customer)))
	recorded, err := n.Reader.AsRecorded().Event(ctx, "acme", result.Position)
	check(t, err)
	const sealed = `"annals:sealed:1:#"`
	got := regexp.MustCompile(`"annals:sealed:1:[A-Za-z0-9_-]+"`).ReplaceAllString(string(recorded.Data), sealed)
	want := `{"cart_id":"00000000-0000-0000-0000-000000000000","customer_id":"c-1","lines":[],"shipping_address":{"street_line_1":` + sealed +
		`,"street_line_2":` + sealed + `,"city":` + sealed + `,"state":null,"postal_code":` + sealed + `,"country":"US"},"total":"0.00","currency":"EUR"}`
	if got != want {
		t.Errorf("recorded %s\nwant     %s", got, want)
	}
}

// keep are keys that a test holds itself.
type keep map[domain.ID]eventstore.SubjectKey

func (k keep) Current(context.Context, string, domain.Subject) (eventstore.SubjectKey, error) {
	return eventstore.SubjectKey{}, errors.New("nothing is sealed here")
}

func (k keep) Lookup(_ context.Context, ids []domain.ID) (map[domain.ID]eventstore.SubjectKey, error) {
	return k, nil
}

// golden is what was sealed once, and must be readable for ever.
type golden struct {
	Key, Event domain.ID
	Client     string
	Secret     []byte
	Sealed     string
}

var kept = golden{
	Key: domain.MustParseID("0190a000-0000-7000-8000-00000000000a"), Event: domain.MustParseID("0190a000-0000-7000-8000-00000000000b"),
	Client: "acme", Secret: []byte("0123456789abcdef0123456789abcdef"),
	Sealed: "annals:sealed:1:AZCgAAAAcACAAAAAAAAACgGQoAAAAHAAgAAAAAAAAAuBLIe66ZvGxJuUS4zYFq1inhJvBWpxo3dDAbLB7--jvgXf5Sh3pLZy0pc5-g",
}

// openInspector opens the inspector of an inspection's data.
func openInspector(t *testing.T, keys eventstore.SubjectKeys, client string, event domain.ID, inspector string) string {
	t.Helper()
	registry, err := domain.NewRegistry(manufacturing.Definitions()...)
	check(t, err)
	data, err := json.Marshal(map[string]string{"inspector": inspector})
	check(t, err)
	events := []eventstore.Envelope{{ClientID: client, EventID: event, EventType: "quality_inspection.recorded", Data: data}}
	check(t, eventstore.NewVault(registry, keys).OpenEvents(ctx, events))
	var shown struct{ Inspector string }
	check(t, json.Unmarshal(events[0].Data, &shown))
	return shown.Inspector
}

func TestWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	keys := keep{kept.Key: {ID: kept.Key, Client: kept.Client, Secret: kept.Secret}}
	other := domain.MustParseID("0190a000-0000-7000-8000-00000000000c")
	wrong := keep{kept.Key: {ID: kept.Key, Client: kept.Client, Secret: bytes.Repeat([]byte{1}, 32)}}
	last := kept.Sealed[:len(kept.Sealed)-2] + "AA"
	for name, c := range map[string]struct {
		keys   keep
		client string
		event  domain.ID
		sealed string
		want   string
	}{
		"kept":             {keys, "acme", kept.Event, kept.Sealed, "Jane Doe"},
		"erased":           {keep{kept.Key: {ID: kept.Key, Client: "acme"}}, "acme", kept.Event, kept.Sealed, "[erased]"},
		"a lost key":       {keep{}, "acme", kept.Event, kept.Sealed, "[unreadable]"},
		"another key":      {wrong, "acme", kept.Event, kept.Sealed, "[unreadable]"},
		"moved":            {keys, "acme", other, kept.Sealed, "[unreadable]"},
		"another client's": {keys, "globex", kept.Event, kept.Sealed, "[unreadable]"},
		"tampered with":    {keys, "acme", kept.Event, last, "[unreadable]"},
		"not sealed":       {keys, "acme", kept.Event, "Jane Doe", "Jane Doe"},
		"looks sealed":     {keys, "acme", kept.Event, "annals:sealed:1:AAAA", "annals:sealed:1:AAAA"},
		"ends with it":     {keys, "acme", kept.Event, `say "` + kept.Sealed, `say "` + kept.Sealed},
		"quotes it":        {keys, "acme", kept.Event, `say "` + kept.Sealed + `"`, `say "` + kept.Sealed + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := openInspector(t, c.keys, c.client, c.event, c.sealed); got != c.want {
				t.Errorf("shown as %q, want %q", got, c.want)
			}
		})
	}
	moved := kept.Sealed
	if got := eventstore.SealedWith([]byte(`{"a":"` + moved + `","b":["` + moved + `"],"c":"annals:sealed:1:x"}`)); !slices.Equal(got, []domain.ID{kept.Key}) {
		t.Errorf("sealed with %v", got)
	}
}

// The states that a node keeps, in memory and as snapshots, hold no text: an erasure has nothing to look for in them.
func TestStatesAreKeptSealed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	n := open(t, db.DSN)
	name := domain.Personal("Jane Doe Ltd")
	result := n.append(t, "acme", stateWorkOrder(workorder.Created{
		Number: "WO", ProductCode: "P", QuantityOrdered: 1, ReceivedOn: "2026-01-05", DueOn: "2026-01-30",
		Workflow: workorder.WorkflowStandard, CustomerName: &name,
	}))
	released := func(to workorder.Status) func(context.Context, *domain.UnitOfWork) error {
		return func(ctx context.Context, u *domain.UnitOfWork) error {
			return manufacturing.TransitionWorkOrder(ctx, u, manufacturing.TransitionWorkOrderCommand{WorkOrderID: result.ID, To: string(to)})
		}
	}
	for i := range 120 { // past the number of events that asks for a snapshot
		to := []workorder.Status{workorder.StatusReleased, workorder.StatusDemoted}[i%2]
		changed, err := n.Runner.Run(ctx, eventstore.Command{Client: "acme"}, released(to))
		check(t, err)
		if state := changed.Target.State.(workorder.State); !sealedText.MatchString(string(*state.CustomerName)) {
			t.Fatalf("a command decided on %q", *state.CustomerName)
		}
	}
	check(t, n.States.Close(ctx))
	var snapshot string
	check(t, db.Get(&snapshot, `SELECT state::text FROM annals.snapshots`))
	if strings.Contains(snapshot, "Jane") || !strings.Contains(snapshot, "annals:sealed:1:") {
		t.Errorf("the snapshot: %s", snapshot)
	}
	fresh := open(t, db.DSN)
	state, err := fresh.States.Current(ctx, "acme", "work_order", result.ID)
	check(t, err)
	if got := *state.State.(workorder.State).CustomerName; got != name {
		t.Errorf("from the snapshot: %q", got)
	}
}

// Without keys nothing personal is recorded; the rest is, and what is sealed is shown so.
func TestNoKeys(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	n := open(t, db.DSN)
	bare, err := eventstore.Open(ctx, eventstore.Config{DSN: db.DSN, Registry: n.registry, CommandConns: 2, QueryConns: 2})
	check(t, err)
	defer func() { check(t, bare.Close(ctx)) }()
	run := func(s stated) error {
		_, err := bare.Runner.Run(ctx, eventstore.Command{Client: "acme"}, func(_ context.Context, u *domain.UnitOfWork) error { return s.start(u) })
		return err
	}
	if err := run(stateOrder(anOrder(nil))); !errors.Is(err, eventstore.ErrNoSubjectKeys) {
		t.Errorf("an order without keys: %v", err)
	}
	check(t, run(stateInspection(inspection.Recorded{Stage: inspection.StageFinal, InspectedOn: "2026-01-06"})))
	result := n.append(t, "acme", stateOrder(anOrder(nil)))
	e, err := bare.Reader.Event(ctx, "acme", result.Position)
	if err != nil || bytes.Contains(e.Data, []byte("Elm")) || !bytes.Contains(e.Data, []byte("annals:sealed:1:")) {
		t.Errorf("without keys: %s, %v", e.Data, err)
	}
}

// Every definition of the program that has personal members is drawn by the property above.
func TestEveryPersonalEventIsTested(t *testing.T) {
	t.Parallel()
	registry, err := domain.NewRegistry(slices.Concat(commerce.Definitions(), manufacturing.Definitions())...)
	check(t, err)
	var personal []string
	for _, name := range registry.EventTypes() {
		if d, _ := registry.EventDefinition(name); d.Personal() != nil {
			personal = append(personal, fmt.Sprintf("%s %s", name, reflect.TypeOf(d.Zero())))
		}
	}
	want := []string{"order.created order.Created", "quality_inspection.recorded inspection.Recorded", "work_order.created workorder.Created"}
	if diff := cmp.Diff(want, personal); diff != "" {
		t.Errorf("draw the new event in drawStated (-want +got):\n%s", diff)
	}
}
