package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"annals/eventstore/embedded"
)

func pgbenchProgram(ctx context.Context, d *database) (string, error) {
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path, nil
	}
	dir, _, err := embedded.Find(ctx, "")
	if err != nil {
		return "", err
	}
	return exec.LookPath(filepath.Join(dir, "pgbench"))
}

// pgbenchScript inserts what prepared(insertQuery(1)) does. Variables are parameters of the prepared statement.
const pgbenchScript = `\set version :version + 1
INSERT INTO plain_events (` + plainColumns + `) VALUES (gen_random_uuid(),
	('00000000-0000-4000-8000-' || lpad(to_hex(CAST(:client_id AS int)), 12, '0'))::uuid, :version, now(), 1, 'product.stock_received', 'product',
	:tenant, :actor, :request, :request, :request, :data, :metadata, :salt, :salt)
`

var (
	pgbenchTotals = regexp.MustCompile(`transactions actually processed: (\d+)\nnumber of failed transactions: 0 (?s:.*)` +
		`initial connection time = ([0-9.]+) ms\ntps = ([0-9.]+) `)
	pgbenchFirst = regexp.MustCompile(`(?m)^progress: ([0-9.]+) s, ([0-9.]+) tps`)
)

// inserters are pgbench's clients.
func inserters(d *database, program string) way {
	return way{name: wayPgbench, each: 1, run: func(ctx context.Context, callers int, span time.Duration, into *tally) (spell, error) {
		target, err := d.foreignURL()
		if err != nil {
			return spell{}, err
		}
		now := time.Now()
		cmd := exec.CommandContext(ctx, program, "--no-vacuum", "--protocol=prepared", "--file=-",
			"--client="+strconv.Itoa(callers), "--jobs="+strconv.Itoa(min(callers, runtime.GOMAXPROCS(0))),
			"--time="+strconv.Itoa(1+int(max(time.Second, span.Round(time.Second)).Seconds())), "--progress=1",
			"--define=version="+strconv.FormatInt(now.UnixMicro(), 10), "--define=tenant=bench", "--define=actor=operator-7",
			"--define=request=01941f29-7c00-7a3e-8b1a-000000000001", "--define=data="+string(received), "--define=metadata={}",
			"--define=salt=0123456789abcdef", target)
		cmd.Stdin = strings.NewReader(pgbenchScript)
		out, err := cmd.CombinedOutput()
		if err := errors.Join(err, ctx.Err()); err != nil {
			return spell{}, fmt.Errorf("pgbench: %w: %s", err, out)
		}
		done, rate, err := warmRate(out)
		if err != nil {
			return spell{}, err
		}
		return spell{
			done: done, took: time.Duration(float64(done) / rate * float64(time.Second)),
			cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
		}, nil
	}}
}

// warmRate reads what pgbench printed: how many transactions it made, and how many a second after its first report. Until
// then each of its connections is new, and its backend slow until it knows its tables. Of a run that stood still until its
// end, or from there on, the rate is that of the whole.
func warmRate(out []byte) (done int64, rate float64, err error) {
	totals := pgbenchTotals.FindSubmatch(out)
	if totals == nil {
		return 0, 0, fmt.Errorf("pgbench: failed transactions, or a report of another form: %s", out)
	}
	number := func(text []byte) float64 {
		n, failed := strconv.ParseFloat(string(text), 64)
		err = errors.Join(err, failed)
		return n
	}
	all, connecting, whole := number(totals[1]), number(totals[2])/1000, number(totals[3])
	rate = whole
	if first := pgbenchFirst.FindSubmatch(out); first != nil {
		cold, early := number(first[1]), number(first[2])
		const enough = 0.5 // seconds
		if warm, later := all/whole+connecting-cold, all-cold*early; warm > enough && later > 0 {
			rate = later / warm
		}
	}
	if err == nil && !(rate > 0) {
		err = errors.New("it made no transaction")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return int64(all), rate, nil
}
