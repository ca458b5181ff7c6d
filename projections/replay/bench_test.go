package replay

import (
	"database/sql"
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"annals/projections"
)

// benchEvents is the length of the log that benchmarks replay.
const benchEvents = 300_000

// sumRow is a row of the benchmark's fold.
type sumRow struct {
	Client string          `db:"client_id,key"`
	Key    string          `db:"key,key"`
	Total  int64           `db:"total"`
	Events int64           `db:"events"`
	Last   int64           `db:"last_position"`
	Data   json.RawMessage `db:"data"`
}

type sumKey struct{ Client, Key string }

// sums is a fold as read models write it.
func sums() projections.Projector {
	return projections.MustFold(projections.FoldConfig[sumKey, sumRow]{
		Spec: projections.Spec{Name: "sums", Version: 1, Kind: projections.KindReadModel, DDL: `
			CREATE TABLE sums (client_id text NOT NULL, key text NOT NULL, total bigint NOT NULL, events bigint NOT NULL,
				last_position bigint NOT NULL, data json NOT NULL, PRIMARY KEY (client_id, key));
			CREATE INDEX sums_total_idx ON sums (client_id, total)`},
		Table: "sums",
		Keys: func(e projections.Event, keys []sumKey) []sumKey {
			if p, ok := e.Payload.(counted); ok {
				keys = append(keys, sumKey{e.ClientID, p.Key})
			}
			return keys
		},
		Step: func(_ sumKey, row *sumRow, e projections.Event) (projections.Outcome, error) {
			row.Total, row.Events, row.Data = row.Total+e.Payload.(counted).Amount, row.Events+1, e.Data
			return projections.Write, nil
		},
	})
}

// logRow is a row of the benchmark's journal.
type logRow struct {
	Position int64           `db:"position,key"`
	Client   string          `db:"client_id"`
	Type     string          `db:"event_type"`
	At       time.Time       `db:"occurred_at"`
	Data     json.RawMessage `db:"data"`
}

// logged is a journal as read models write it.
func logged() projections.Projector {
	return projections.MustJournal(projections.JournalConfig[logRow]{
		Spec: projections.Spec{Name: "logged", Version: 1, Kind: projections.KindReadModel, DDL: `
			CREATE TABLE logged (position bigint PRIMARY KEY, client_id text NOT NULL, event_type text NOT NULL,
				occurred_at timestamptz NOT NULL, data json NOT NULL);
			CREATE INDEX logged_type_idx ON logged (client_id, event_type, position)`},
		Table: "logged",
		Row: func(e projections.Event) (logRow, bool, error) {
			return logRow{e.Position, e.ClientID, e.EventType, e.OccurredAt, e.Data}, true, nil
		},
	})
}

// BenchmarkRebuild replays a log, beside a plain scan of the same columns with lib/pq in the same run. x_scan is the ratio
// of the two rates, MB_heap the most memory in use.
func BenchmarkRebuild(b *testing.B) {
	for name, p := range map[string]projections.Projector{"fold": sums(), "journal": logged()} {
		b.Run(name, func(b *testing.B) {
			bundle := setup(b)
			bundle.fill(benchEvents)
			bundle.must(`VACUUM ANALYZE annals.events`)
			var scanning, replaying time.Duration
			var heap uint64
			opts := Options{Progress: func(Progress) {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heap = max(heap, m.HeapInuse)
			}}
			for b.Loop() {
				began := time.Now()
				bundle.scan()
				scanned := time.Now()
				if _, err := Rebuild(bundle.ctx, bundle.deps, p, opts); err != nil {
					b.Fatal(err)
				}
				scanning += scanned.Sub(began)
				replaying += time.Since(scanned)
			}
			events := float64(benchEvents * b.N)
			b.ReportMetric(events/replaying.Seconds(), "events/s")
			b.ReportMetric(events/scanning.Seconds(), "scanned/s")
			b.ReportMetric(scanning.Seconds()/replaying.Seconds(), "x_scan")
			b.ReportMetric(float64(heap)/(1<<20), "MB_heap")
		})
	}
}

// scan reads the log plainly: one prepared statement, every column into a variable.
func (b *bundle) scan() {
	b.t.Helper()
	statement, err := b.PrepareContext(b.ctx, `SELECT position, event_id, event_type, schema_version, aggregate_type,
		aggregate_id, aggregate_version, client_id, actor_id, occurred_at, recorded_at, correlation_id, causation_id,
		request_id, data, metadata FROM annals.events WHERE position > $1 AND position <= $2 ORDER BY position`)
	if err != nil {
		b.t.Fatal(err)
	}
	defer statement.Close()
	rows, err := statement.QueryContext(b.ctx, 0, benchEvents)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	var position, version, schema int64
	var occurred, recorded time.Time
	var texts [9]string
	var data, metadata sql.RawBytes
	for rows.Next() {
		err := rows.Scan(&position, &texts[0], &texts[1], &schema, &texts[2], &texts[3], &version, &texts[4], &texts[5],
			&occurred, &recorded, &texts[6], &texts[7], &texts[8], &data, &metadata)
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
}
