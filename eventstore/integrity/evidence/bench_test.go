package evidence_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
	"annals/eventstore/pgtest"
)

// fill writes events $1 to $2 past the event store, with all kinds of text.
const fill = `
	INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
		schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
		data, metadata, data_salt, metadata_salt)
	SELECT n, gen_random_uuid(), md5('stream' || n % 10)::uuid, (SELECT count(*) FROM annals.events e WHERE e.aggregate_id = md5('stream' || n % 10)::uuid)
			+ row_number() OVER (PARTITION BY n % 10 ORDER BY n), now(), clock_timestamp(), 1,
		CASE WHEN n % 3 = 0 THEN 'cart.submitted' ELSE 'cart.created' END, 'cart', CASE WHEN n % 5 = 0 THEN 'globex' ELSE 'acme' END,
		'Ädä "x"', 'request-' || n, CASE WHEN n % 2 = 0 THEN 'command-' || n ELSE '' END, 'request-' || n,
		CASE WHEN n % 7 = 0 THEN json_build_object('n', n) ELSE (E' {"n": ' || n || E',\n "é": "\\ud83d\\ude00"}')::json END,
		'{ "traceparent" : "x" }', uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid())
	FROM generate_series($1::bigint, $2::bigint) n`

var discard = slog.New(slog.DiscardHandler)

var keyStream = domain.MustParseID("0f8fad5b-d9cb-469f-a165-70867728950e")

// bench is a log with its tree and its key.
type bench struct {
	t      testing.TB
	name   string // the log's
	db     *pgtest.DB
	app    *sqlx.DB
	source evidence.Source
	key    string // the first private key
	keys   *integrity.Keys
	signer *integrity.Signer
}

// newBench makes a log of so many events, sealed and signed at each of the sizes.
func newBench(t testing.TB, sizes ...int64) *bench {
	t.Helper()
	b := &bench{t: t, db: pgtest.New(t), name: "test/" + uuid.NewString()}
	open := func(role eventstore.Role) *sqlx.DB {
		pool, err := eventstore.OpenDB(b.db.DSN, role, 4, "evidence")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		return pool
	}
	b.app = open(eventstore.RoleApp)
	b.source = evidence.Source{
		Log: integrity.NewLog(b.app), Keys: keyStream,
		Records: integrity.NewRecords(eventstore.NewTenants(open(eventstore.RoleQuery))),
	}
	b.newKey()
	for _, size := range sizes {
		b.grow(size)
	}
	return b
}

// secret makes a key of the log's name.
func (b *bench) secret() integrity.Secrets {
	b.t.Helper()
	private, _, err := integrity.GenerateKey(b.name)
	if err != nil {
		b.t.Fatal(err)
	}
	return integrity.Secrets{SignerKey: private}
}

// newKey gives a log without a key one.
func (b *bench) newKey() {
	b.t.Helper()
	secret := b.secret()
	b.key = secret.SignerKey
	b.keys = integrity.NewKeys(integrity.KeysConfig{DB: b.app, Recorder: recorder{b}, Secrets: secret, Logger: discard})
	b.signer = integrity.NewSigner(b.keys, 0, discard)
	if err := b.keys.Ensure(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// verifierKey is the log's first key.
func (b *bench) verifierKey() string {
	b.t.Helper()
	keys, err := b.source.Log.Keys(context.Background())
	if err != nil || len(keys) == 0 {
		b.t.Fatal(keys, err)
	}
	return keys[0].VerifierKey
}

// grow fills the log up to a size, seals and signs it.
func (b *bench) grow(size int64) {
	b.t.Helper()
	if head := b.head(); head < size {
		b.exec(fill, head+1, size)
	}
	b.seal()
	b.sign()
}

func (b *bench) head() (head int64) {
	b.t.Helper()
	head, err := b.source.Records.Head(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return head
}

// seal adds what isn't sealed yet to the tree.
func (b *bench) seal() {
	b.t.Helper()
	ctx := context.Background()
	size, err := b.source.Log.Size(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	records, err := b.source.Records.Page(ctx, eventstore.AllClients, size, b.head())
	if err != nil {
		b.t.Fatal(err)
	}
	tx, err := b.app.BeginTx(ctx, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	defer tx.Rollback()
	if err := integrity.Seal(ctx, tx, records); err != nil {
		b.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) sign() {
	b.t.Helper()
	// Thinning would leave the newest checkpoint of a minute alone.
	b.exec(`UPDATE annals.integrity_checkpoints SET signed_at = signed_at - interval '1 hour'`)
	if _, err := b.signer.Sign(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	if _, err := b.db.Exec(query, args...); err != nil {
		b.t.Fatalf("%v\n%s", err, query)
	}
}

// tamper does what the owner of the database can do, and nobody else.
func (b *bench) tamper(statements ...string) {
	b.t.Helper()
	b.exec(`ALTER TABLE annals.events DISABLE TRIGGER ALL; ALTER TABLE annals.integrity_tiles DISABLE TRIGGER ALL`)
	for _, s := range statements {
		b.exec(s)
	}
	b.exec(`ALTER TABLE annals.events ENABLE TRIGGER ALL; ALTER TABLE annals.integrity_tiles ENABLE TRIGGER ALL`)
}

// save keeps tables as they are (none are named: all of the log and its tree), for restore.
func (b *bench) save(tables ...string) (restore func()) {
	b.t.Helper()
	if len(tables) == 0 {
		tables = []string{"events", "integrity_log", "integrity_tiles", "integrity_checkpoints", "integrity_keys"}
	}
	var statements []string
	for _, table := range tables {
		b.exec(`CREATE TABLE saved_` + table + ` AS SELECT * FROM annals.` + table)
		statements = append(statements, `DELETE FROM annals.`+table, `INSERT INTO annals.`+table+` SELECT * FROM saved_`+table)
	}
	statements = append(statements, `ALTER TABLE annals.events DROP CONSTRAINT IF EXISTS events_pkey, DROP CONSTRAINT IF EXISTS events_stream_key,
		ADD CONSTRAINT events_pkey PRIMARY KEY (position), ADD CONSTRAINT events_stream_key UNIQUE (aggregate_id, aggregate_version)`)
	return func() { b.t.Helper(); b.tamper(statements...) }
}

// note is the latest signed checkpoint, as an auditor keeps it.
func (b *bench) note() evidence.Kept {
	b.t.Helper()
	c, err := b.source.Log.Latest(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return evidence.Kept{Name: "kept.note", Note: []byte(c.Note)}
}

func (b *bench) verify(o evidence.Options) *evidence.Report {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report, err := evidence.VerifyDatabase(ctx, b.source, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return report
}

// export makes a bundle in memory.
func (b *bench) export(o evidence.ExportOptions) fstest.MapFS {
	b.t.Helper()
	if o.Selection.Client == "" {
		o.Selection.Client = eventstore.AllClients
	}
	to := &memory{files: fstest.MapFS{}}
	if _, err := evidence.Export(context.Background(), b.source, to, o); err != nil {
		b.t.Fatal(err)
	}
	return to.end()
}

// memory is a bundle in memory.
type memory struct {
	files fstest.MapFS
	name  string
	open  *bytes.Buffer
}

func (m *memory) Create(name string) (w io.Writer, err error) {
	m.end()
	m.name, m.open = name, &bytes.Buffer{}
	return m.open, nil
}

func (m *memory) Close() error { m.end(); return nil }

func (m *memory) end() fstest.MapFS {
	if m.open != nil {
		m.files[m.name] = &fstest.MapFile{Data: m.open.Bytes(), Mode: 0o600}
	}
	m.open = nil
	return m.files
}

func verifyBundle(t testing.TB, bundle fstest.MapFS, o evidence.Options) *evidence.Report {
	t.Helper()
	report, err := evidence.VerifyBundle(context.Background(), bundle, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// expect checks the verdict, and that a finding about the position says something; "" stands for any, 0 for no position.
func expect(t testing.TB, r *evidence.Report, verdict evidence.Verdict, position int64, says string) {
	t.Helper()
	if r.Verdict != verdict {
		t.Fatalf("verdict %s, want %s: %s", r.Verdict, verdict, shown(r))
	}
	if verdict == evidence.Intact {
		if len(r.Findings) > 0 || r.Found > 0 {
			t.Fatalf("intact, with findings: %s", shown(r))
		}
		return
	}
	for _, f := range r.Findings {
		at := int64(0)
		if f.Position != nil {
			at = *f.Position
		}
		if at == position && strings.Contains(f.Detail, says) {
			return
		}
	}
	t.Fatalf("no finding about %d says %q: %s", position, says, shown(r))
}

func shown(r *evidence.Report) string {
	text, _ := json.MarshalIndent(r, "", " ")
	return string(text)
}

// recorder writes what becomes of keys into the log.
type recorder struct{ b *bench }

func (r recorder) CurrentKey(ctx context.Context) (key string, err error) {
	err = r.b.db.GetContext(ctx, &key, `SELECT coalesce((SELECT data ->> 'verifier_key' FROM annals.events
		WHERE aggregate_id = $1 ORDER BY aggregate_version DESC LIMIT 1), '')`, keyStream.String())
	return key, err
}

func (r recorder) KeyCreated(ctx context.Context, origin, key string) (position int64, err error) {
	err = r.b.db.GetContext(ctx, &position, `SELECT position FROM annals.events WHERE aggregate_id = $1 AND data ->> 'verifier_key' = $2`,
		keyStream.String(), key)
	if !errors.Is(err, sql.ErrNoRows) {
		return position, err
	}
	return r.write(ctx, "signing_key.created", map[string]string{"origin": origin, "verifier_key": key})
}

func (r recorder) KeyRotated(ctx context.Context, k integrity.Rotation) (int64, error) {
	return r.write(ctx, "signing_key.rotated", map[string]string{
		"origin": k.Origin, "verifier_key": k.VerifierKey, "replaces": k.Replaces, "statement": k.Statement, "reason": k.Reason,
	})
}

func (r recorder) write(ctx context.Context, eventType string, data any) (position int64, err error) {
	text, err := json.Marshal(data)
	if err != nil {
		return 0, err
	}
	err = r.b.db.GetContext(ctx, &position, `
		INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
			schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
			data, metadata, data_salt, metadata_salt)
		SELECT (SELECT coalesce(max(position), 0) + 1 FROM annals.events), gen_random_uuid(), $1,
			(SELECT count(*) + 1 FROM annals.events WHERE aggregate_id = $1), now(), now(), 1, $2, 'signing_key', 'annals', 'test', '', '', '',
			$3, '{}', uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid())
		RETURNING position`, keyStream.String(), eventType, string(text))
	return position, err
}
