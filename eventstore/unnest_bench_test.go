package eventstore

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

const unnestRows = 100

// unnestComposites is one INSERT of 100 rows per transaction, from an array of composites in binary, as the append sends
// its events.
func unnestComposites(b *testing.B, db *sqlx.DB) func() error {
	conn, err := db.Connx(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var oid uint32
	if err := conn.QueryRowxContext(b.Context(), `SELECT 'annals.append_event_v2'::regtype::oid::bigint`).Scan(&oid); err != nil {
		b.Fatal(err)
	}
	stmt, err := conn.PreparexContext(b.Context(), benchInsert+
		`SELECT e.event_id, e.aggregate_id, e.aggregate_version, e.occurred_at, now(), e.schema_version, e.event_type,
		        e.aggregate_type, e.client_id, e.actor_id, e.correlation_id, e.causation_id, e.request_id, e.data, e.metadata,
		        e.data_salt, e.metadata_salt FROM unnest($1::annals.append_event_v2[]) e`)
	if err != nil {
		b.Fatal(err)
	}
	var c caller
	var p parts
	var salts saltSource
	var param []byte
	return func() error {
		p.reset()
		for range unnestRows {
			r := c.request()
			p.encode(&r, &salts)
		}
		param = append(appendHeader(param[:0], oid, p.events.n), p.events.b...)
		_, err := stmt.Exec(param)
		return err
	}
}

// unnestColumns is the same from an array for each column, as lib/pq sends them: what a bulk loader does.
func unnestColumns(b *testing.B, db *sqlx.DB) func() error {
	stmt, err := db.PreparexContext(b.Context(), benchInsert+
		`SELECT event_id, aggregate_id, aggregate_version, occurred_at, now(), schema_version, event_type, aggregate_type,
		        client_id, actor_id, correlation_id, causation_id, request_id, data, metadata, data_salt, metadata_salt
		   FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::integer[], $6::text[], $7::text[], $8::text[],
		        $9::text[], $10::text[], $11::text[], $12::text[], $13::json[], $14::json[], $15::bytea[], $16::bytea[])
		     AS e(event_id, aggregate_id, aggregate_version, occurred_at, schema_version, event_type, aggregate_type, client_id,
		        actor_id, correlation_id, causation_id, request_id, data, metadata, data_salt, metadata_salt)`)
	if err != nil {
		b.Fatal(err)
	}
	var c caller
	var salts saltSource
	return func() error {
		var texts [12]pq.StringArray
		var versions, schemas pq.Int64Array
		var dataSalts, metadataSalts pq.ByteaArray
		for range unnestRows {
			r := c.request()
			e := &r.Events[0]
			versions, schemas = append(versions, e.AggregateVersion), append(schemas, int64(e.SchemaVersion))
			dataSalts = append(dataSalts, bytes.Clone(salts.take()))
			metadataSalts = append(metadataSalts, bytes.Clone(salts.take()))
			for i, text := range [...]string{
				e.EventID.String(), e.AggregateID.String(), e.OccurredAt.Format(time.RFC3339Nano), e.EventType, e.AggregateType,
				r.Client, e.ActorID, e.CorrelationID, e.CausationID, e.RequestID, string(e.Data), string(e.Metadata),
			} {
				texts[i] = append(texts[i], text)
			}
		}
		_, err := stmt.Exec(texts[0], texts[1], versions, texts[2], schemas, texts[3], texts[4], texts[5], texts[6], texts[7],
			texts[8], texts[9], texts[10], texts[11], dataSalts, metadataSalts)
		return err
	}
}

// BenchmarkUnnest compares the sequencer at 128 callers with bulk inserts from arrays, in alternating rounds: the ways that
// annals bench append doesn't show. For each, one connection and the best number of them.
func BenchmarkUnnest(b *testing.B) {
	dsn := benchDatabase(b)
	s := openSequencer(b, dsn)
	rounds, slice := 5, 600*time.Millisecond
	if testing.Short() { // to see that it works, not how fast
		rounds, slice = 1, 50*time.Millisecond
	}
	ways := map[string]way{"columns": {unnestRows, unnestColumns}, "composites": {unnestRows, unnestComposites}}
	var sequencer []float64
	rates := map[string][]float64{}
	for range b.N * rounds {
		sequencer = append(sequencer, drive(b, dsn, sequencerWay(s), 128, slice))
		for name, w := range ways {
			for _, connections := range []int{1, 2, 8} {
				key := fmt.Sprint(name, connections)
				rates[key] = append(rates[key], drive(b, dsn, w, connections, slice))
			}
		}
	}
	own := median(sequencer)
	b.ReportMetric(own, "events/s")
	for name := range ways {
		one := median(rates[name+"1"])
		best := max(one, median(rates[name+"2"]), median(rates[name+"8"]))
		b.ReportMetric(best, name+"/s")
		b.ReportMetric(own/best, "x-"+name)
		b.ReportMetric(own/one, "x-"+name+"-by-one")
	}
}
