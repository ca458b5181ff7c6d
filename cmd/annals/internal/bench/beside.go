package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"time"
)

// The load of a server beside a replay: steady, and little enough for what it has alone not to be what it waits for.
const (
	besideCallers = 8
	besideRate    = 400 // commands a second
)

// beside has a server answer a steady load of commands alone, and then while annals replay --gentle rebuilds read models of
// its in a process of its own.
func beside(ctx context.Context, o *Options, d *database, r *Report) (err error) {
	one := *o
	one.Servers = 1
	servers, stop, err := startServers(ctx, &one, d.dsn, roomy(besideCallers), nil)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	if err := d.caughtUp(ctx); err != nil {
		return err
	}
	if _, err := d.owner.ExecContext(ctx, `CHECKPOINT`); err != nil { // what is written later isn't what was filled
		return err
	}
	connections, hangUp, err := connect(ctx, servers, 1, besideCallers)
	if err != nil {
		return err
	}
	defer hangUp()
	length := 2 * o.Slice
	alone, during := phaseTotals{}, phaseTotals{}
	var ratios []float64
	for round := range o.Rounds { // the two take turns
		a, err := offer(connections, length/4, length, besideRate)
		if err != nil {
			return err
		}
		alone.add(a, cost{}, memory{})
		replaying, cancel := context.WithCancel(ctx)
		replayed := make(chan error, 1)
		go func() { replayed <- replayAgain(replaying, o.Program, d.dsn) }()
		b, err := offer(connections, length/4, length, besideRate)
		cancel()
		if err := errors.Join(err, <-replayed); err != nil {
			return err
		}
		during.add(b, cost{}, memory{})
		ratios = append(ratios, b.p99()/a.p99())
		note(o, "beside a server: round %d of %d", round+1, o.Rounds)
	}
	r.Rows = append(r.Rows, alone.row("commands alone", besideCallers), during.row("commands beside a replay", besideCallers))
	r.Ratios = append(r.Ratios, ratioAtMost("a command's p99 beside a replay ÷ alone", median(ratios), 2))
	r.Notes = append(r.Notes, fmt.Sprintf("%d connections send %d commands a second in all to a server that has every subscriber",
		besideCallers, besideRate))
	return nil
}

// replayAgain rebuilds until ctx ends, which isn't an error.
func replayAgain(ctx context.Context, program, dsn string) error {
	for {
		cmd := exec.CommandContext(ctx, program, "replay", "audit_log", "products", "--gentle")
		cmd.Env, cmd.Cancel = environment(dsn), func() error { return cmd.Process.Signal(os.Interrupt) }
		if said, err := cmd.CombinedOutput(); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("annals replay: %w: %s", err, said)
		}
	}
}

// caughtUp waits until the servers' subscribers have taken the whole log, for as long as they go on.
func (d *database) caughtUp(ctx context.Context) error {
	moved, least := time.Now(), int64(math.MaxInt64)
	for ; ; time.Sleep(20 * time.Millisecond) {
		var left struct {
			Names  string `db:"names"`
			Events int64  `db:"events"`
		}
		err := d.owner.GetContext(ctx, &left, `
			SELECT coalesce(string_agg(name, ', '), '') AS names, coalesce(sum(head - position), 0)::bigint AS events
			FROM annals.subscribers, (SELECT coalesce(max(position), 0) AS head FROM annals.events) log
			WHERE position < head AND name <> 'stock'`)
		if err != nil || left.Events == 0 {
			return err
		}
		if left.Events < least {
			moved, least = time.Now(), left.Events
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("%s: %d events behind, without going on", left.Names, left.Events)
		}
	}
}
