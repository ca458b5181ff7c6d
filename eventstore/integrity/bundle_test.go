package integrity_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"annals/eventstore"
	"annals/eventstore/integrity"
	"annals/eventstore/pgtest"
)

// bench is a log whose keys' events go to a list, as the event store would have them.
type bench struct {
	t   testing.TB
	db  *pgtest.DB
	log *integrity.Log
	rec *recorder
	// locked is a passphrase in a file, which takes little work to try.
	locked integrity.Secrets
}

// recorder implements integrity.Recorder. It fails before or after it has recorded when told to.
type recorder struct {
	mu        sync.Mutex
	keys      []string
	rotations []integrity.Rotation
	before    error
	after     error
}

func (r *recorder) CurrentKey(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) == 0 {
		return "", nil
	}
	return r.keys[len(r.keys)-1], nil
}

func (r *recorder) KeyCreated(_ context.Context, _, verifierKey string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.keys, verifierKey) {
		if r.before != nil {
			return 0, r.before
		}
		r.keys = append(r.keys, verifierKey)
	}
	return int64(len(r.keys)), r.after
}

func (r *recorder) KeyRotated(ctx context.Context, rotation integrity.Rotation) (int64, error) {
	r.mu.Lock()
	r.rotations = append(r.rotations, rotation)
	r.mu.Unlock()
	return r.KeyCreated(ctx, rotation.Origin, rotation.VerifierKey)
}

func setup(t testing.TB) *bench {
	t.Helper()
	db := pgtest.New(t)
	return &bench{t: t, db: db, log: integrity.NewLog(db.DB), rec: &recorder{}, locked: integrity.Secrets{PassphraseDir: t.TempDir()}}
}

func (b *bench) keys(secrets integrity.Secrets) *integrity.Keys {
	pool, err := eventstore.OpenDB(b.db.DSN, eventstore.RoleApp, 4, "test")
	check(b.t, err)
	b.t.Cleanup(func() { pool.Close() })
	return integrity.NewKeys(integrity.KeysConfig{
		DB: pool, Recorder: b.rec, Secrets: secrets, Logger: slog.New(slog.DiscardHandler),
	})
}

// ensured gives keys that have been made or opened.
func (b *bench) ensured(secrets integrity.Secrets) *integrity.Keys {
	b.t.Helper()
	k := b.keys(secrets)
	check(b.t, k.Ensure(context.Background()))
	return k
}

// signer signs whenever it is asked.
func signer(k *integrity.Keys) *integrity.Signer {
	return integrity.NewSigner(k, 0, slog.New(slog.DiscardHandler))
}

func (b *bench) sign(k *integrity.Keys) integrity.SignedCheckpoint {
	b.t.Helper()
	ctx := context.Background()
	signed, err := signer(k).Sign(ctx)
	check(b.t, err)
	if !signed {
		b.t.Fatal("nothing was signed")
	}
	latest, err := b.log.Latest(ctx)
	check(b.t, err)
	return latest
}

// seal seals events until the tree has a size.
func (b *bench) seal(size int64) {
	b.t.Helper()
	ctx := context.Background()
	from, err := b.log.Size(ctx)
	check(b.t, err)
	tx, err := b.db.BeginTx(ctx, nil)
	check(b.t, err)
	defer tx.Rollback()
	check(b.t, integrity.Seal(ctx, tx, recordsFrom(from, size)))
	check(b.t, tx.Commit())
}

func recordsFrom(after, upTo int64) []integrity.Record {
	var list []integrity.Record
	for p := after + 1; p <= upTo; p++ {
		at := time.UnixMicro(p).UTC()
		list = append(list, integrity.Record{
			LeafVersion: 1, DataSalt: make([]byte, 16), MetadataSalt: make([]byte, 16), Envelope: eventstore.Envelope{
				Position: p, EventType: "cart.created", AggregateType: "cart", ClientID: "acme", ActorID: "me",
				AggregateVersion: p, OccurredAt: at, RecordedAt: at, Data: []byte("{}"), Metadata: []byte("{}"),
			},
		})
	}
	return list
}

func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(query, args...)
	check(b.t, err)
}

// tamper does what the trigger doesn't let anybody do.
func (b *bench) tamper(query string) {
	b.t.Helper()
	b.exec(`ALTER TABLE annals.integrity_tiles DISABLE TRIGGER ALL;` + query + `; ALTER TABLE annals.integrity_tiles ENABLE TRIGGER ALL`)
}

// verifies requires that a note is signed by a key, and gives its checkpoint.
func (b *bench) verifies(c integrity.SignedCheckpoint, verifierKey string) integrity.Checkpoint {
	b.t.Helper()
	known, err := integrity.Verifiers(verifierKey)
	check(b.t, err)
	parsed, _, err := integrity.ParseCheckpoint([]byte(c.Note), known)
	check(b.t, err)
	if parsed.Size != c.Size || parsed.Root != c.Root {
		b.t.Fatalf("the note of size %d says %+v", c.Size, parsed)
	}
	return parsed
}
