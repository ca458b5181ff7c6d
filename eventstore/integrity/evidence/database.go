package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"annals/eventstore/integrity"
)

const (
	tileWidth = 256
	// chunkPositions is how many positions one goroutine reads at once: whole tiles.
	chunkPositions = 8 * tileWidth
)

// VerifyDatabase recomputes the log from its rows and holds it against the stored tree, every stored checkpoint, the log's
// keys and the checkpoints that the verifier kept. It may run beside servers: what they add meanwhile isn't looked at. What
// is wrong is in the report; an error means that it could not be verified.
func VerifyDatabase(ctx context.Context, s Source, o Options) (*Report, error) {
	v := &databaseVerifier{report: newReport("database"), source: s, options: o, checked: &frontier{}, tiles: &integrity.Tree{}}
	if err := v.run(ctx); err != nil {
		return nil, fmt.Errorf("verify the database: %w", err)
	}
	return v.report.finish(), nil
}

type databaseVerifier struct {
	report  *Report
	source  Source
	options Options

	stored integrity.StoredLog
	head   int64          // last position in the log
	until  int64          // last position that is looked at
	active *integrity.Key // that signs; nil: there is none
	trust  *trust
	marks  marks

	checked  *frontier       // the tree of the stored leaf hashes
	tiles    *integrity.Tree // the same, for its tiles
	rows     *frontier       // the tree of the hashes computed from rows; nil: it is the same
	gone     bool            // rows lacks leaves: nothing can be said of it any more
	full     []integrity.Tile
	noHashes int64 // end of the tile whose missing hashes were reported last

	suspects []suspect
	others   int64 // positions that differ and aren't among suspects
	missing  missing
}

// suspect is a position whose row doesn't have the stored leaf hash.
type suspect struct {
	position           int64
	leaf               integrity.Leaf
	computed, leafHash integrity.Hash
	err                error // why the row has no leaf
}

// maxSuspects bounds the rows that are looked at more closely.
const maxSuspects = 1000

func (v *databaseVerifier) run(ctx context.Context) error {
	if err := v.open(ctx); err != nil {
		return err
	}
	if err := v.scan(ctx); err != nil {
		return err
	}
	if err := v.beyond(ctx); err != nil {
		return err
	}
	v.judge()
	if err := v.streams(ctx); err != nil {
		return err
	}
	r := v.report
	r.Unsealed = max(v.head-v.stored.Size, 0)
	r.Scope = fmt.Sprintf("every event, positions 1 to %d", v.until)
	if r.Unsealed > 0 {
		r.remark("%d events after position %d aren't sealed yet: nothing shows whether they were changed", r.Unsealed, v.stored.Size)
	}
	return nil
}

func (v *databaseVerifier) open(ctx context.Context) (err error) {
	r := v.report
	keys, err := v.readKeys(ctx) // before the tree and the events, which may get others meanwhile
	if err != nil {
		return err
	}
	latest, err := v.source.Log.Latest(ctx) // before the tree, which may grow meanwhile
	if err != nil && !errors.Is(err, integrity.ErrNoCheckpoint) && !errors.Is(err, integrity.ErrDamaged) {
		return err
	}
	v.marks.latest = latest.Size
	if v.stored, err = v.source.Log.Stored(ctx); err != nil {
		if !errors.Is(err, integrity.ErrDamaged) {
			return err
		}
		r.altered(0, "the Merkle tree's row is gone")
	}
	if v.head, err = v.source.Records.Head(ctx); err != nil {
		return err
	}
	r.Origin, r.Size = v.stored.Origin, v.stored.Size
	recorded, err := recordedKeys(ctx, v.source.Records, v.source.Keys)
	if err != nil {
		if !errors.Is(err, integrity.ErrDamaged) {
			return err
		}
		r.altered(0, "%v", err)
	}
	if v.trust, err = newTrust(r, v.stored.Origin, recorded, v.options.Keys); err != nil {
		return err
	}
	r.KeyGiven = v.trust.given
	if err := v.storedKeys(ctx, keys, recorded); err != nil {
		return err
	}
	keptMarks, err := readKept(r, v.trust, v.stored.Origin, v.options.Since)
	if err != nil {
		return err
	}
	v.until = v.stored.Size
	for _, m := range keptMarks { // what was signed once is looked at, also where the tree doesn't reach there
		v.until = max(v.until, min(m.checkpoint.Size, v.head))
	}
	return v.marks.open(ctx, v, keptMarks)
}

// readKeys reads the keys that are kept for signing; none when they are damaged, which is a finding.
func (v *databaseVerifier) readKeys(ctx context.Context) ([]integrity.Key, error) {
	keys, err := v.source.Log.Keys(ctx)
	if errors.Is(err, integrity.ErrDamaged) {
		v.report.altered(0, "%v", err)
		return nil, nil
	}
	return keys, err
}

// storedKeys compares the keys that are kept for signing with those that the log recorded. keys were read before these.
func (v *databaseVerifier) storedKeys(ctx context.Context, keys []integrity.Key, recorded []KeyRecord) error {
	for i, k := range keys {
		if k.Status == integrity.KeyActive {
			v.active = &keys[i]
		}
		if k.Status != integrity.KeyPending && v.trust.order[k.VerifierKey] == 0 {
			v.report.altered(0, "the signing key %s is none that the log recorded: the key was replaced", k.ID)
		}
	}
	if len(recorded) == 0 || keys == nil { // or damaged, which is said
		return nil
	}
	last := recorded[len(recorded)-1]
	isLast := func(k integrity.Key) bool { return k.VerifierKey == last.VerifierKey }
	if slices.ContainsFunc(keys, isLast) {
		return nil
	}
	keys, err := v.readKeys(ctx) // a key is there before it is recorded
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(keys, isLast) {
		v.report.altered(last.Position, "the signing key %s that the log recorded is gone", shortKey(last.VerifierKey))
	}
	return nil
}

// scan reads all rows and the leaf hashes that were sealed of them.
func (v *databaseVerifier) scan(ctx context.Context) error {
	if err := v.source.Records.Between(ctx, minPosition, 0, func(r integrity.Record) error {
		v.report.altered(0, "there is an event at position %d: positions begin with 1", r.Position)
		return nil
	}); err != nil {
		return err
	}
	v.marks.pass(v)
	return ordered(ctx, func(yield func(chunk) bool) error {
		for from := int64(0); from < v.until; from += chunkPositions {
			if !yield(chunk{from, min(from+chunkPositions, v.until)}) {
				return nil
			}
		}
		return nil
	}, v.read, func(c chunkResult) error {
		for i := range c.to - c.from {
			if err := v.position(ctx, &c, i); err != nil {
				return err
			}
		}
		if v.options.Progress != nil {
			v.options.Progress(c.to, v.until)
		}
		return nil
	})
}

// minPosition is below every position that somebody could have inserted.
const minPosition = -1 << 62

// position takes what was read of a position.
func (v *databaseVerifier) position(ctx context.Context, c *chunkResult, i int64) error {
	p := c.from + i + 1
	for ; len(c.findings) > 0 && c.findings[0].position <= p; c.findings = c.findings[1:] {
		v.report.altered(c.findings[0].position, "%s", c.findings[0].detail)
	}
	computed, isThere := c.computed[i], c.there[i]
	sealed, isSealed := c.sealed(i)
	if isThere {
		v.report.Events++
		v.report.Payloads++
	} else if c.suspect(p) == nil {
		v.missing.add(v.report, p)
	}
	switch {
	case isSealed && (!isThere || sealed != computed):
		v.differs(p, c.suspect(p), sealed)
		if v.rows == nil {
			v.rows = v.checked.clone()
		}
	case !isSealed:
		if s := c.suspect(p); s != nil {
			v.report.incomplete(p, "no leaf can be made of the event: %v", s.err)
		}
		sealed = computed
		if p <= v.stored.Size {
			v.unknown(p)
		}
	}
	if v.rows != nil {
		v.rows.leaf(computed)
		v.gone = v.gone || !isThere
	}
	v.checked.leaf(sealed)
	if p <= v.stored.Size {
		v.tiles.Append(sealed, func(t integrity.Tile) {
			if t.Level > 0 {
				v.full = append(v.full, t)
			}
		})
	}
	v.marks.pass(v)
	return v.upper(ctx)
}

func (v *databaseVerifier) differs(p int64, s *suspect, sealed integrity.Hash) {
	if s == nil {
		return // the row is missing, which is said
	}
	if len(v.suspects) >= maxSuspects {
		v.others++
		return
	}
	s.leafHash = sealed
	v.suspects = append(v.suspects, *s)
}

// unknown notes a position whose sealed hash isn't there: once for each tile.
func (v *databaseVerifier) unknown(p int64) {
	if end := (p + tileWidth - 1) / tileWidth * tileWidth; end != v.noHashes {
		v.noHashes = end
		v.report.incomplete(p, "the sealed hashes of the events from here to %d are missing", min(end, v.stored.Size))
	}
}

// upper compares the tiles above the leaves that got full.
func (v *databaseVerifier) upper(ctx context.Context) error {
	for _, want := range v.full {
		found := false
		err := v.source.Log.StoredTiles(ctx, want.Level, want.Index, want.Index+1, func(got integrity.Tile) {
			if found = true; string(got.Hashes) != string(want.Hashes) {
				span := int64(1) << (8 * (want.Level + 1))
				v.report.altered(0, "tile %d of level %d isn't that of the hashes below it (positions %d to %d): the tile was changed",
					want.Index, want.Level, want.Index*span+1, (want.Index+1)*span)
			}
		})
		if err != nil {
			return err
		}
		if !found {
			v.report.incomplete(0, "tile %d of level %d is missing", want.Index, want.Level)
		}
	}
	v.full = v.full[:0]
	return nil
}

// missing is runs of positions without a row.
type missing struct{ count, last int64 }

func (m *missing) add(r *Report, p int64) {
	m.count++
	if m.last != p-1 || m.count == 1 {
		r.altered(p, "the event at this position is missing")
	}
	m.last = p
}
