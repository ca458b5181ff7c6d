package policies

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/kpis"
	"annals/projections/kpithresholds"
)

// KPIWatchConfig is what the watch over key figures works with. All but Logger are required.
type KPIWatchConfig struct {
	Figures    *kpis.Queries
	Thresholds *kpithresholds.Queries
	Commands   eventstore.Runner
	// WaitFor waits until a subscriber has applied a position.
	WaitFor func(ctx context.Context, subscriber string, position int64) error
	Logger  *slog.Logger // default: slog.Default
}

// watchWait bounds the waiting for the read models; the page is tried again afterwards.
const watchWait = 5 * time.Second

// KPIWatch is the policy that compares key figures with their thresholds. After each event that may change a figure, and
// when a threshold is set, it looks at the figure as it is now and has the threshold judge it, which states something only
// when the figure crosses the limit. However many events a look covers, and however often it is repeated, each crossing
// is stated once.
type KPIWatch struct {
	KPIWatchConfig
	issuer issuer
}

// NewKPIWatch makes the policy.
func NewKPIWatch(cfg KPIWatchConfig) *KPIWatch {
	return &KPIWatch{cfg, newIssuer("kpi_watch", cfg.Commands, cfg.Logger)}
}

// Spec implements projections.PolicyHandler.
func (p *KPIWatch) Spec() projections.Spec {
	return projections.Spec{
		Name: p.issuer.policy, Version: 1, Kind: projections.KindPolicy,
		EventTypes: []string{
			production.Created{}.EventType(), production.Corrected{}.EventType(), inspection.Recorded{}.EventType(),
			workorder.StatusChanged{}.EventType(), kpi.ThresholdSet{}.EventType(),
		},
	}
}

// news is what a page's events may have changed for a client.
type news struct {
	cause projections.Event  // the last of the events
	sums  kpi.Sums           // counts what kind of data there is news of: entries, inspections, deliveries
	lines map[string]bool    // lines that entries came to or left; inspections and deliveries have none
	set   map[domain.ID]bool // thresholds that were set
}

// concerns reports whether a threshold, of the whole production or a line that there is news of, must be judged.
func (n *news) concerns(t kpithresholds.Threshold) bool {
	return n.set[t.ID] || n.sums.HasData(t.KPI)
}

// newsOf sorts a page's events by client, in the order of their first events.
func newsOf(page projections.Page) []*news {
	var list []*news
	clients := make(map[string]*news)
	for _, e := range page.Events {
		var sums kpi.Sums
		var lines []string
		threshold := false
		switch payload := e.Payload.(type) {
		case production.Created:
			sums.Entries, lines = 1, []string{payload.Line}
		case production.Corrected:
			sums.Entries, lines = 1, []string{payload.Before().Line, payload.Entry.Line}
		case inspection.Recorded:
			sums.Inspections = 1
		case workorder.StatusChanged:
			if payload.ToStatus != workorder.StatusShipped {
				continue
			}
			sums.Shipped = 1
		case kpi.ThresholdSet:
			threshold = true
		default:
			continue
		}
		n := clients[e.ClientID]
		if n == nil {
			n = &news{lines: make(map[string]bool), set: make(map[domain.ID]bool)}
			clients[e.ClientID] = n
			list = append(list, n)
		}
		n.cause, n.sums = e, n.sums.Plus(sums)
		for _, line := range lines {
			n.lines[line] = true
		}
		if threshold {
			n.set[e.AggregateID] = true
		}
	}
	return list
}

// Handle implements projections.PolicyHandler.
func (p *KPIWatch) Handle(ctx context.Context, page projections.Page) error {
	list := newsOf(page)
	if len(list) == 0 {
		return nil
	}
	if err := p.catchUp(ctx, page.To); err != nil {
		return err
	}
	for _, n := range list {
		lines, set := slices.Collect(maps.Keys(n.lines)), slices.Collect(maps.Keys(n.set))
		thresholds, position, err := p.Thresholds.Concerned(ctx, n.cause.ClientID, lines, set)
		if err == nil {
			err = upTo(page.To, position)
		}
		if err != nil {
			return err
		}
		for _, t := range thresholds {
			if !n.concerns(t) {
				continue
			}
			if err := p.judge(ctx, n.cause, t, page.To); err != nil {
				return err
			}
		}
	}
	return nil
}

// catchUp waits until the read models know what the page's events say.
func (p *KPIWatch) catchUp(ctx context.Context, position int64) error {
	ctx, cancel := context.WithTimeout(ctx, watchWait)
	defer cancel()
	for _, spec := range []projections.Spec{kpis.Spec(), kpithresholds.Spec()} {
		if err := p.WaitFor(ctx, spec.Name, position); err != nil {
			return err
		}
	}
	return nil
}

// upTo refuses rows that are older than the page.
func upTo(wanted, position int64) error {
	if position < wanted {
		return fmt.Errorf("%w: the read model stands at position %d, before %d", eventstore.ErrUnavailable, position, wanted)
	}
	return nil
}

// judge has a threshold judge the latest value of its figure. The value is one of the period that the threshold had: if
// it has another by now, the event that says so brings the next judgement.
func (p *KPIWatch) judge(ctx context.Context, cause projections.Event, t kpithresholds.Threshold, wanted int64) error {
	latest, err := p.Figures.Latest(ctx, t.ClientID, t.KPI, t.Period, t.Line)
	if err == nil {
		err = upTo(wanted, latest.Position)
	}
	if err != nil || latest.Period == "" {
		return err
	}
	value, err := decimal.NewFromString(latest.Value)
	if err != nil {
		return fmt.Errorf("read the %s of %s: %w", t.KPI, latest.Period, err)
	}
	cmd := manufacturing.EvaluateThresholdCommand{
		KPI: t.KPI, Line: t.Line, Value: value, Period: latest.Period, ComputedAtPosition: latest.Position,
	}
	key := fmt.Sprintf("%s:%d", t.ID, latest.Position)
	return p.issuer.onceIfChanging(ctx, cause, key, func(ctx context.Context, u *domain.UnitOfWork) error {
		stream, err := domain.Open(ctx, u, kpi.Aggregate, t.ID)
		if err != nil || stream.State().Period != t.Period {
			return err
		}
		return manufacturing.EvaluateThreshold(ctx, u, cmd)
	})
}
