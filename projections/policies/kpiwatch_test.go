package policies_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/kpi"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/kpialerts"
	"annals/projections/kpis"
	"annals/projections/kpithresholds"
	"annals/projections/replay"
)

const watch = "kpi_watch"

// Two nodes work on one database: whatever either of them handles, each crossing is stated once.
func TestEachCrossingIsStatedOnce(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	one, two := open(t, p.DB, p.registry), open(t, p.DB, p.registry)
	g := p.watch(one, one.Runner)
	start(t, g)
	start(t, p.watch(two, two.Runner))

	order := p.order(one, "WO-1", false, "released", "in_progress")
	p.atLeast(one, "quality_rate", "90", "day", nil)
	older, position := p.produce(one, order, "L1", "2026-01-06", 0)
	p.handled(g, watch, position)
	p.alerts("within the limit", 0, 0)

	latest, position := p.produce(two, order, "L1", "2026-01-07", 20)
	p.handled(g, watch, position)
	p.alerts("beyond the limit", 1, 0)

	_, position = p.produce(one, order, "L2", "2026-01-07", 30)
	p.handled(g, watch, position)
	_, position = p.produce(two, order, "L2", "2026-01-08", 11)
	p.handled(g, watch, position)
	p.alerts("still beyond the limit", 1, 0)

	p.handled(g, watch, p.correct(one, older, 90))
	p.handled(g, watch, p.correct(two, latest, 0))
	p.alerts("older periods were corrected", 1, 0)

	_, position = p.produce(one, order, "L1", "2026-01-08", 0)
	p.handled(g, watch, position)
	p.alerts("within the limit again", 1, 1)

	p.handled(g, watch, p.correct(one, older, 100))
	p.alerts("an older period is beyond the limit", 1, 1)

	p.handled(g, watch, p.atLeast(two, "quality_rate", "99.5", "day", nil))
	p.alerts("a higher limit", 2, 1)
	p.handled(g, watch, p.atLeast(one, "quality_rate", "94.5", "day", nil))
	p.alerts("the limit itself is allowed", 2, 2)

	p.handled(g, kpialerts.Spec().Name, int64(count(t, p.DB.DB, `SELECT max(position) FROM annals.events`)))
	list, err := kpialerts.NewQueries(one.Tenants).List(context.Background(), "acme", kpialerts.Filter{}, 0, 10)
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("alerts %+v: %v", list, err)
	}
	first := list.Items[0]
	if first.ValueText() != "80.00" || first.Period != "2026-01-07" || first.RecoveredAt == nil || first.Line != nil ||
		first.KPI != kpi.QualityRate || first.Direction != kpi.Min {
		t.Errorf("the first alert %+v", first)
	}
	// What states nothing is kept nowhere.
	if n := count(t, p.DB.DB, `SELECT count(*) FROM annals.idempotency_keys WHERE scope = 'policy:kpi_watch'`); n != 4 {
		t.Errorf("%d keys are kept for four crossings", n)
	}
	if n := count(t, p.DB.DB, `SELECT count(*) FROM annals.events v JOIN annals.events c ON c.event_id::text = v.causation_id
		WHERE v.event_type = 'kpi.threshold_violated' AND v.actor_id = 'policy:kpi_watch'
		AND c.event_type IN ('production_entry.created', 'kpi.threshold_set') AND v.correlation_id = c.correlation_id`); n != 2 {
		t.Errorf("%d violations name their cause", n)
	}
}

func TestThresholdsOfLinesWeeksAndClients(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	g := p.watch(n, n.Runner)
	start(t, g)
	order := p.order(n, "WO-1", true, "released", "in_progress")
	p.atLeast(n, "quality_rate", "90", "day", ptr("L2"))
	p.atLeast(n, "quality_rate", "90", "week", nil)
	_, position := p.produce(n, order, "L1", "2026-01-06", 15)
	p.handled(g, watch, position)
	p.alerts("the week, not the line", 1, 0)
	_, position = p.produce(n, order, "L2", "2026-01-08", 0)
	p.handled(g, watch, position)
	p.alerts("the rest of the week makes up for it", 1, 1)
	_, position = p.produce(n, order, "L2", "2026-01-12", 15) // the next week, and the line
	p.handled(g, watch, position)
	p.alerts("the line too", 3, 1)

	p.client = "globex"
	order = p.order(n, "WO-1", false, "released", "in_progress")
	_, position = p.produce(n, order, "L2", "2026-01-20", 100)
	p.handled(g, watch, position)
	p.handled(g, watch, p.atLeast(n, "otd", "100", "day", nil))
	p.handled(g, watch, p.atLeast(n, "fpy", "95", "day", nil))
	p.alerts("a client without data", 3, 1)
	p.handled(g, watch, p.inspect(n, order, "incoming", 9, 1).Position)
	p.alerts("an inspection", 4, 1)
	command(p, n, manufacturing.RemoveThreshold, manufacturing.RemoveThresholdCommand{KPI: "fpy"})
	p.handled(g, watch, p.inspect(n, order, "incoming", 0, 1).Position)
	p.alerts("a figure that isn't watched any more", 4, 1)
	p.handled(g, watch, p.ship(n, order)) // due at the end of January 2026, shipped today
	p.alerts("a late delivery", 5, 1)
}

// A rebuild of the read models, which the policy reads, is no news: nothing is judged, and nothing is stated again.
func TestReplayFiresNothing(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	g := p.watch(n, n.Runner)
	start(t, g)
	order := p.order(n, "WO-1", false, "released", "in_progress")
	p.atLeast(n, "quality_rate", "90", "day", nil)
	for _, day := range []string{"2026-01-06", "2026-01-07", "2026-01-08"} {
		for _, defects := range []int64{0, 30} {
			_, position := p.produce(n, order, "L1", day, defects)
			p.handled(g, watch, position)
		}
	}
	p.alerts("before", 3, 2)
	head := count(t, p.DB.DB, `SELECT max(position) FROM annals.events`)
	for range 2 {
		deps := replay.Deps{DB: p.DB.DB.DB, Registry: p.registry, Logger: slog.New(slog.DiscardHandler)}
		for _, m := range []projections.Projector{kpis.New(), kpithresholds.New(), kpialerts.New()} {
			dry, err := replay.Rebuild(context.Background(), deps, m, replay.Options{DryRun: true})
			if err != nil || !dry.Comparison.Equal() {
				t.Fatalf("%s differs from its replay: %+v, %v", m.Spec().Name, dry.Comparison, err)
			}
			if _, err := replay.Rebuild(context.Background(), deps, m, replay.Options{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.handled(g, watch, int64(head))
	p.alerts("after", 3, 2)
	if now := count(t, p.DB.DB, `SELECT max(position) FROM annals.events`); now != head {
		t.Errorf("the log grew from %d to %d", head, now)
	}
	_, position := p.produce(n, order, "L1", "2026-01-09", 0)
	p.handled(g, watch, position)
	p.alerts("the next crossing", 3, 3)
}

// judged keeps which thresholds the policy has judged.
type judged struct {
	eventstore.Runner
	mu  sync.Mutex
	ids map[string]bool
}

func (j *judged) Run(
	ctx context.Context, cmd eventstore.Command, use func(context.Context, *domain.UnitOfWork) error,
) (eventstore.CommandResult, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if of, ok := strings.CutPrefix(cmd.RequestID, "policy:kpi_watch:"); ok {
		id, _, _ := strings.Cut(of, ":")
		j.ids[id] = true
	}
	return j.Runner.Run(ctx, cmd, use)
}

// since gives what was judged since it was asked last, as the lines of the thresholds in their order.
func (j *judged) since(client string) (lines []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range []string{"", "L1", "L2", "L3"} {
		of := &line
		if line == "" {
			of = nil
		}
		if j.ids[kpi.ThresholdID(client, kpi.QualityRate, of).String()] {
			lines = append(lines, line)
		}
	}
	j.ids = make(map[string]bool)
	return lines
}

// However many lines a client watches, an entry has the thresholds of its own line judged, and of the whole production.
func TestOnlyTheLinesOfAnEntryAreJudged(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	runner := &judged{Runner: n.Runner, ids: make(map[string]bool)}
	g := p.watch(n, runner)
	start(t, g)
	order := p.order(n, "WO-1", false, "released", "in_progress")
	entries := make(map[string]domain.ID)
	for _, line := range []string{"L1", "L2", "L3"} {
		entry, position := p.produce(n, order, line, "2026-01-06", 0)
		p.handled(g, watch, position)
		entries[line] = entry
	}
	judges := func(what string, position int64, want ...string) {
		t.Helper()
		p.handled(g, watch, position)
		if got := runner.since(p.client); !slices.Equal(got, want) {
			t.Errorf("%s: thresholds of the lines %q were judged, want %q", what, got, want)
		}
	}
	judges("the whole production is watched", p.atLeast(n, "quality_rate", "50", "day", nil), "")
	for _, line := range []string{"L1", "L2", "L3"} {
		judges(line+" is watched", p.atLeast(n, "quality_rate", "50", "week", &line), line)
	}
	_, position := p.produce(n, order, "L1", "2026-01-07", 1)
	judges("an entry", position, "", "L1")
	judges("a correction", p.correct(n, entries["L2"], 1), "", "L2")
	moved := command(p, n, manufacturing.CorrectProduction, manufacturing.CorrectProductionCommand{
		EntryID: entries["L1"], Line: ptr("L2"), Reason: "another line",
	})
	judges("a correction of the line", moved.Position, "", "L1", "L2")
	judges("an inspection", p.inspect(n, order, "incoming", 9, 1).Position)
}

// pageOf gives the events up to a position that a policy wants, as it is given them.
func (p *plant) pageOf(spec projections.Spec, from, to int64) projections.Page {
	p.t.Helper()
	rows, err := p.DB.Query(`SELECT position, event_id, aggregate_id, aggregate_version, event_type, schema_version, client_id,
		correlation_id, data FROM annals.events WHERE position > $1 AND position <= $2 ORDER BY position`, from, to)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	page := projections.Page{From: from, To: to}
	for rows.Next() {
		var e projections.Event
		var eventID, id, data []byte
		err := rows.Scan(&e.Position, &eventID, &id, &e.AggregateVersion, &e.EventType, &e.SchemaVersion, &e.ClientID, &e.CorrelationID, &data)
		if err == nil {
			err = errors.Join(e.EventID.UnmarshalText(eventID), e.AggregateID.UnmarshalText(id))
		}
		if err != nil {
			p.t.Fatal(err)
		}
		e.Data = data
		for _, wanted := range spec.EventTypes {
			if wanted == e.EventType {
				page.Events = append(page.Events, e)
			}
		}
	}
	if _, err := projections.NewDecoder(p.registry).Decode(spec, page.Events); err != nil || rows.Err() != nil {
		p.t.Fatal(err, rows.Err())
	}
	return page
}

// models runs the read models of key figures and thresholds on a node, and no policy.
func (p *plant) models(n *node) *projections.Group {
	p.t.Helper()
	g, err := projections.New(projections.Config{
		DB: n.Commands, Registry: p.registry, Waker: n.Sequencer.Signal(), Tail: n.Sequencer.Tail(), Logger: slog.New(slog.DiscardHandler),
		StandbyPause: 10 * time.Millisecond,
	}, kpis.New(), kpithresholds.New())
	if err == nil {
		err = projections.EnsureSchemas(context.Background(), p.DB.DB, g.Specs()...)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	start(p.t, g)
	return g
}

// A node whose cache is behind the log judges by the log.
func TestJudgementOnAnOutdatedCache(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	one, two := open(t, p.DB, p.registry), open(t, p.DB, p.registry)
	g := p.watch(one, one.Runner)
	start(t, g)
	order := p.order(one, "WO-1", false, "released", "in_progress")
	p.atLeast(one, "quality_rate", "90", "day", nil)
	_, within := p.produce(one, order, "L1", "2026-01-06", 0)
	p.handled(g, watch, within)
	other := watchOf(two, two.Runner, g)
	handle := func(from, to int64) {
		t.Helper()
		if err := other.Handle(context.Background(), p.pageOf(other.Spec(), from, to)); err != nil {
			t.Fatal(err)
		}
	}
	handle(0, within) // now the other node's cache has the threshold, not violated
	_, beyond := p.produce(one, order, "L1", "2026-01-07", 50)
	p.handled(g, watch, beyond)
	p.alerts("beyond the limit", 1, 0)
	g.Close()

	// The first node is gone; the read models go on without its policies.
	models := p.models(two)
	other = watchOf(two, two.Runner, models)
	_, back := p.produce(two, order, "L1", "2026-01-08", 0)
	handle(beyond, back)
	p.alerts("within the limit again", 1, 1)
	handle(0, back) // everything once more
	handle(beyond, back)
	p.alerts("delivered again", 1, 1)
}

// A threshold that has another period by now isn't judged by a figure of the old one: the event that says so is handled
// in its turn.
func TestThresholdWithAnotherPeriodMeanwhile(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	g := p.models(n)
	order := p.order(n, "WO-1", false, "released", "in_progress")
	p.produce(n, order, "L1", "2026-01-06", 0)
	p.atLeast(n, "quality_rate", "60", "day", nil)
	_, position := p.produce(n, order, "L1", "2026-01-07", 50) // the day has 50 %, the week 75 %
	p.handled(g, kpis.Spec().Name, position)
	p.handled(g, kpithresholds.Spec().Name, position)
	g.Close()
	p.atLeast(n, "quality_rate", "60", "week", nil)
	policy := watchOf(n, n.Runner, g)
	if err := policy.Handle(context.Background(), p.pageOf(policy.Spec(), 0, position)); err != nil {
		t.Fatal(err)
	}
	p.alerts("judged by the day", 0, 0)
}

// While a read model is behind, the policy waits for it rather than judge by old figures.
func TestTheWatchWaitsForItsReadModels(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	n := open(t, p.DB, p.registry)
	g := p.watch(n, n.Runner)
	start(t, g)
	order := p.order(n, "WO-1", false, "released", "in_progress")
	p.atLeast(n, "quality_rate", "90", "day", nil)
	_, position := p.produce(n, order, "L1", "2026-01-06", 0)
	p.handled(g, watch, position)
	early := watchOf(n, n.Runner, g)
	early.WaitFor = func(context.Context, string, int64) error { return nil }
	page := p.pageOf(early.Spec(), 0, position)
	page.To += 1000
	if err := early.Handle(context.Background(), page); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("judged by rows that are older than the page: %v", err)
	}
}
