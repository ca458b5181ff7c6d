package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Sizes of the overload. A phase counts for twice the slice, after a lead-in of a quarter of that; it is bounded so that
// connections that wait for their turn aren't closed as idle.
const (
	overloadFactor = 5
	phaseMost      = 20 * time.Second
)

// wayRefused names the row of refusals: how many per second, and how fast.
const wayRefused = "refused of these"

// overloadRound is what one round found.
type overloadRound struct{ peak, over, after phaseResult }

// runOverload finds how many commands servers take per second from callers that wait for their answers, then offers five
// times as many over five times as many connections, then the first load again.
func runOverload(ctx context.Context, o *Options, d *database) (_ Report, err error) {
	if err := d.fill(ctx, o.Log); err != nil {
		return Report{}, err
	}
	division, restore := d.divide()
	defer func() { err = errors.Join(err, restore()) }()
	callers := o.Callers[len(o.Callers)-1]
	servers, stop, err := startServers(ctx, o, d.dsn, tight(callers, o.Servers), division.servers)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return Report{}, err
	}
	connections, hangUp, err := connect(ctx, servers, o.Tenants, overloadFactor*callers)
	if err != nil {
		return Report{}, err
	}
	defer hangUp()

	m := newMeter(ctx, d.owner, servers...)
	length := min(2*o.Slice, phaseMost)
	var results overloadResults
	for round := range o.Rounds {
		phase := func(among []*connection, perSecond float64, into *phaseTotals) (r phaseResult, err error) {
			spent, err := m.during(ctx, func() (err error) {
				r, err = offer(among, length/4, length, perSecond)
				return errors.Join(err, ctx.Err())
			})
			if err != nil {
				return r, err
			}
			memory, err := memoryOf(ctx, servers)
			into.add(r, spent, memory)
			return r, err
		}
		var r overloadRound
		if r.peak, err = phase(connections[:callers], 0, &results.peak); err != nil {
			return Report{}, err
		}
		if r.over, err = phase(connections, overloadFactor*r.peak.acceptedPerSecond(), &results.over); err != nil {
			return Report{}, err
		}
		if r.after, err = phase(connections[:callers], 0, &results.after); err != nil {
			return Report{}, err
		}
		results.rounds = append(results.rounds, r)
		note(o, "round %d of %d", round+1, o.Rounds)
	}
	report := results.report(callers)
	report.Notes = append([]string{division.note}, report.Notes...)
	return report, nil
}

// overloadResults gathers the rounds.
type overloadResults struct {
	rounds            []overloadRound
	peak, over, after phaseTotals
}

// phaseTotals adds up what one phase found in every round. Its latencies are of accepted commands.
type phaseTotals struct {
	tally
	refusals tally
	memory   memory // the most after any round
	pending  int64
}

func (t *phaseTotals) add(r phaseResult, spent cost, m memory) {
	if t.latency == nil {
		t.tally, t.refusals = tally{latency: newHistogram(), each: 1}, tally{latency: newHistogram(), each: 1}
	}
	t.rates = append(t.rates, r.acceptedPerSecond())
	t.latency.Merge(r.accepted)
	t.calls, t.refused = t.calls+r.acceptedInAll, t.refused+r.refusedInAll
	t.cost.add(spent)
	t.refusals.rates = append(t.refusals.rates, r.refusedPerSecond())
	t.refusals.latency.Merge(r.refused)
	t.memory = memory{max(t.memory.heapMB, m.heapMB), max(t.memory.rssMB, m.rssMB)}
	t.pending += r.pending
}

func (t *phaseTotals) row(way string, callers int) Row {
	row := t.tally.row(cell{way, callers})
	row.Allocations = 0 // of the load generator alone
	row.DatabaseBy = t.databaseBy()
	row.HeapMB, row.RSSMB = t.memory.heapMB, t.memory.rssMB
	return row
}

func (r *overloadResults) report(callers int) Report {
	of := func(value func(overloadRound) float64) float64 {
		var all []float64
		for _, round := range r.rounds {
			all = append(all, value(round))
		}
		return median(all)
	}
	report := Report{
		Unit: "commands",
		Rows: []Row{
			r.peak.row("peak", callers), r.over.row(fmt.Sprintf("%d × peak", overloadFactor), overloadFactor*callers),
			r.over.refusals.row(cell{way: wayRefused}), r.after.row("peak again", callers),
		},
		Ratios: []Ratio{
			ratio("answered ÷ peak", of(func(x overloadRound) float64 { return x.over.offeredPerSecond() / x.peak.acceptedPerSecond() }), 0),
			ratio("accepted ÷ peak", of(func(x overloadRound) float64 { return x.over.acceptedPerSecond() / x.peak.acceptedPerSecond() }),
				0.8).notBelow(0.2),
			ratioAtMost("p99 of the accepted ÷ p99 at peak", of(func(x overloadRound) float64 { return x.over.p99() / x.peak.p99() }), 5),
			ratio("recovered ÷ peak", of(func(x overloadRound) float64 { return x.after.acceptedPerSecond() / x.peak.acceptedPerSecond() }),
				0).notBelow(0.2),
		},
		Notes: []string{fmt.Sprintf("%d callers want %d times the peak; one that is refused and comes back at once is held back, so that "+
			"fewer requests are answered", overloadFactor*callers, overloadFactor), "program CPU is the servers' for each accepted command, generator CPU this process's; " +
			"heap and resident memory are the servers' after the phase"},
	}
	if pending := r.peak.pending + r.over.pending + r.after.pending; pending > 0 {
		report.Notes = append(report.Notes, fmt.Sprintf("%d accepted commands didn't wait for the audit log", pending))
	}
	return report
}
