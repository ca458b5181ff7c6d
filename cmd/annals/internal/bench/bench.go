// Package bench measures Annals beside the usual ways to do the same, in turns within one run: absolute figures depend on
// the machine, their ratios hardly do.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Options say how much to measure. Check refuses what makes no sense.
type Options struct {
	// DatabaseURL names a server on which a database of the benchmark's own is made, and dropped afterwards. Empty: a
	// private PostgreSQL in a temporary directory, with fsync on.
	DatabaseURL string
	// Program is the path of the annals binary, which the http benchmark runs as servers.
	Program string
	// Callers are the numbers of concurrent callers, of append, and connections, of http and overload, which use the last.
	Callers []int
	Rounds  int           // in which the ways take turns; medians are shown
	Slice   time.Duration // that a way is given in a round
	Events  int64         // in the log that project and replay read
	Log     int64         // events that the log holds before append, http and overload begin
	Tenants int           // clients that the callers belong to, in turn
	// Subscribers is how many projections that do nothing run beside append.
	Subscribers int
	Servers     int   // that http and overload run on one database
	Stream      int64 // events of the stream that load reads
	// Peers is a directory into which npm has installed what peers measures beside pgbench and watermill-sql; empty: nowhere.
	Peers string
	Note  io.Writer
}

// Defaults are the sizes with which all benchmarks together take a few minutes.
func Defaults() Options {
	return Options{
		Callers: []int{1, 8, 32, 128}, Rounds: 5, Slice: 600 * time.Millisecond, Events: 300_000, Tenants: 1, Servers: 1,
		Stream: 10_000, Note: io.Discard,
	}
}

// Bounds of the options: what a benchmark asks for is taken from the machine it runs on.
const (
	maxCallers     = 1024
	maxEvents      = 20_000_000
	maxStream      = 1_000_000
	maxTenants     = 100_000
	maxSubscribers = 64
	maxServers     = 8
)

// Check refuses options out of bounds.
func (o *Options) Check() error {
	if len(o.Callers) == 0 {
		return errors.New("at least one number of callers is needed")
	}
	for _, n := range o.Callers {
		if n < 1 || n > maxCallers {
			return fmt.Errorf("callers must be 1 to %d, not %d", maxCallers, n)
		}
	}
	for _, b := range []struct {
		name            string
		value, min, max int64
	}{
		{"rounds", int64(o.Rounds), 1, 1000}, {"events", o.Events, 1000, maxEvents}, {"log", o.Log, 0, maxEvents},
		{"tenants", int64(o.Tenants), 1, maxTenants}, {"subscribers", int64(o.Subscribers), 0, maxSubscribers},
		{"servers", int64(o.Servers), 1, maxServers}, {"stream", o.Stream, 10, maxStream},
		{"slice (ms)", o.Slice.Milliseconds(), 10, 60_000},
	} {
		if b.value < b.min || b.value > b.max {
			return fmt.Errorf("%s must be %d to %d, not %d", b.name, b.min, b.max, b.value)
		}
	}
	return nil
}

// Row is what one way reached. Members that weren't measured are 0.
type Row struct {
	Way       string  `json:"way"`
	Callers   int     `json:"callers,omitempty"`
	PerSecond float64 `json:"per_second"` // events, commands or loads
	// Latencies of a call, in milliseconds.
	P50  float64 `json:"p50_ms,omitempty"`
	P90  float64 `json:"p90_ms,omitempty"`
	P99  float64 `json:"p99_ms,omitempty"`
	P999 float64 `json:"p99_9_ms,omitempty"`
	// CPU time for each event, command or load, in microseconds: of this program (with the load generator, but for http),
	// of the load generator and of the database.
	ProgramCPU   float64 `json:"program_cpu_us,omitempty"`
	GeneratorCPU float64 `json:"generator_cpu_us,omitempty"`
	DatabaseCPU  float64 `json:"database_cpu_us,omitempty"`
	// DatabaseBy splits DatabaseCPU by what the database's processes do, where that says something.
	DatabaseBy  map[string]float64 `json:"database_cpu_us_by,omitempty"`
	Allocations float64            `json:"allocations,omitempty"`   // of the program, for each
	DiskBytes   float64            `json:"disk_bytes,omitempty"`    // of tables and indexes, for each event
	WALBytes    float64            `json:"wal_bytes,omitempty"`     // for each
	HeapMB      float64            `json:"peak_heap_mb,omitempty"`  // most in use while it ran
	RSSMB       float64            `json:"rss_mb,omitempty"`        // resident, of the servers
	Refused     float64            `json:"refused_share,omitempty"` // answers that said to come back later
}

// Ratio is a figure beside its baseline's.
type Ratio struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Aim    float64 `json:"aim,omitempty"`     // what we want to reach; 0: none set
	AtMost bool    `json:"at_most,omitempty"` // less is better
	// Floor is far below what has been reached: a value below it means that something broke. 0: none set.
	Floor   float64 `json:"floor,omitempty"`
	Reached bool    `json:"reached"` // the aim
}

func ratio(name string, value, aim float64) Ratio {
	return Ratio{Name: name, Value: value, Aim: aim, Reached: value >= aim}
}

func ratioAtMost(name string, value, aim float64) Ratio {
	return Ratio{Name: name, Value: value, Aim: aim, AtMost: true, Reached: value <= aim}
}

func (r Ratio) notBelow(floor float64) Ratio {
	r.Floor = floor
	return r
}

// Broken lists the ratios below their floors.
func (r Report) Broken() (broken []Ratio) {
	for _, ratio := range r.Ratios {
		if ratio.Value < ratio.Floor {
			broken = append(broken, ratio)
		}
	}
	return broken
}

// Report is what a benchmark found.
type Report struct {
	Benchmark string   `json:"benchmark"`
	Unit      string   `json:"unit"` // of what is counted per second
	Rows      []Row    `json:"rows"`
	Ratios    []Ratio  `json:"ratios"`
	Notes     []string `json:"notes,omitempty"`
}

// Benchmark is one of the things that can be measured.
type Benchmark struct {
	Name  string
	Short string
	run   func(context.Context, *Options, *database) (Report, error)
}

// All lists the benchmarks in the order in which they are run together.
func All() []Benchmark {
	return []Benchmark{
		{"append", "appends beside single-row INSERTs, one transaction per append, bulk INSERTs and COPY", runAppend},
		{"peers", "appends beside pgbench, watermill-sql's publisher, message-db and Emmett", runPeers},
		{"http", "whole commands over HTTP beside single-row INSERTs", runHTTP},
		{"overload", "five times the commands that a server can take, from CPUs of their own", runOverload},
		{"project", "a live projection beside watermill-sql's default subscriber", runProject},
		{"replay", "the rebuild of read models beside a plain scan of the log", runReplay},
		{"load", "loading a long stream with a snapshot and without", runLoad},
		{"lag", "the time from a commit until a projection shows it, beside one append", runLag},
	}
}

// Run measures one benchmark in a database of its own.
func Run(ctx context.Context, b Benchmark, o Options) (_ Report, err error) {
	db, err := newDatabase(ctx, &o)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	report, err := b.run(ctx, &o, db)
	if err != nil {
		return Report{}, fmt.Errorf("bench %s: %w", b.Name, err)
	}
	report.Benchmark = b.Name
	return report, nil
}
