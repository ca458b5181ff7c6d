package evidence

import (
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"annals/eventstore/integrity"
)

// trust is the keys whose signatures count. A key that was replaced counts for what it signed until then.
type trust struct {
	list      []note.Verifier
	trusted   map[string]bool // by verifier key
	verifiers note.Verifiers
	rank      map[string]int // by key id: their order
	records   []KeyRecord
	order     map[string]int // by verifier key: the log's, from 2; one that the log didn't record comes before these
	given     bool
	chosen    map[string]bool // by verifier key: those that the verifier gave
	past      map[string]bool // by key id: those that count only because they were replaced by one that does
}

// newTrust takes the keys that the verifier gave, and those that these vouch for: the ones that replaced them, and the
// ones that they replaced, which vouch for none themselves. When no key was given, it takes the log's own. Rotations that
// nothing vouches for are noted in the report.
func newTrust(r *Report, origin string, records []KeyRecord, given []string) (*trust, error) {
	t := &trust{
		trusted: map[string]bool{}, rank: map[string]int{}, records: records, order: map[string]int{}, given: len(given) > 0,
		chosen: map[string]bool{}, past: map[string]bool{},
	}
	for i, k := range records {
		if t.order[k.VerifierKey] == 0 {
			t.order[k.VerifierKey] = i + 2
		}
	}
	for _, key := range given {
		if err := t.add(key, false); err != nil {
			return nil, err
		}
		t.chosen[strings.TrimSpace(key)] = true
	}
	vouched := t.follow(r, origin)
	for i := len(records) - 1; i > 0 && t.given; i-- {
		if vouched[i] && t.trusted[records[i].VerifierKey] {
			if err := t.add(records[i].Replaces, true); err != nil {
				r.altered(records[i].Position, "%v", err)
			}
		}
	}
	t.verifiers = note.VerifierList(t.list...)
	return t, nil
}

// follow adds the keys from the first to the last that count, and tells which rotations both keys have signed.
func (t *trust) follow(r *Report, origin string) (vouched []bool) {
	vouched = make([]bool, len(t.records))
	for i, k := range t.records {
		if i > 0 && k.Replaces != t.records[i-1].VerifierKey {
			r.altered(k.Position, "the key %s replaces %s, which wasn't the log's", shortKey(k.VerifierKey), shortKey(k.Replaces))
			if t.given {
				continue
			}
		}
		if k.Replaces != "" {
			rotation := integrity.Rotation{Origin: origin, VerifierKey: k.VerifierKey, Replaces: k.Replaces, Statement: k.Statement}
			vouched[i] = integrity.VerifyRotation(rotation) == nil
			if !vouched[i] && !t.given {
				r.remark("the key %s, of position %d, isn't vouched for by the one before: it was said to be lost", shortKey(k.VerifierKey), k.Position)
			}
		}
		if t.given && !(vouched[i] && t.trusted[k.Replaces]) {
			continue
		}
		if err := t.add(k.VerifierKey, false); err != nil {
			r.altered(k.Position, "%v", err)
		}
	}
	return vouched
}

// add makes a key count; past: for the past alone.
func (t *trust) add(key string, past bool) error {
	if key = strings.TrimSpace(key); t.trusted[key] {
		return nil
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		return fmt.Errorf("the verifier key %.80q: %w", key, err)
	}
	if id := keyID(v.Name(), v.KeyHash()); t.rank[id] == 0 { // two keys of the same id can't be told apart
		t.trusted[key], t.rank[id], t.past[id] = true, max(t.order[key], 1), past
		t.list = append(t.list, v)
	}
	return nil
}

// signatures are those of trusted keys under a checkpoint.
type signatures struct {
	ids  []string
	rank int  // of the newest of the keys
	past bool // they are all of the past
}

// open reads a signed checkpoint.
func (t *trust) open(signed []byte) (c integrity.Checkpoint, by signatures, err error) {
	c, n, err := integrity.ParseCheckpoint(signed, t.verifiers)
	if err != nil {
		return c, by, err
	}
	by.past = true
	for _, s := range n.Sigs {
		id := keyID(s.Name, s.Hash)
		by.ids = append(by.ids, fmt.Sprintf("%08x", s.Hash))
		by.rank, by.past = max(by.rank, t.rank[id]), by.past && t.past[id]
	}
	return c, by, nil
}

// newest judges who signed the newest checkpoint. A new key signs a checkpoint when it is put to use, and the key before
// signs none from then on. Until then it does, however long that takes: the position of the rotation's event alone doesn't
// tell that it shouldn't have.
func (t *trust) newest(r *Report, size int64, by signatures, earlier []*kept) {
	for _, e := range earlier {
		if e.checkpoint.Size < size && e.rank > by.rank { // of the same size both may be, the old key's a little earlier
			r.altered(0, "the checkpoint at size %d is signed by %s alone, which had been replaced by then: a newer key signed at size %d",
				size, by.ids, e.checkpoint.Size)
			return
		}
	}
	outranked := by.past
	var next *KeyRecord
	for i := range t.records {
		k := &t.records[i]
		if i+2 <= by.rank || k.Position > size {
			continue
		}
		if outranked = outranked || t.chosen[k.VerifierKey]; next == nil {
			next = k
		}
	}
	switch {
	case outranked:
		r.incomplete(0, "the checkpoint at size %d is signed by %s alone, which was replaced by a key that you trust: neither that key nor a later one has signed it",
			size, by.ids)
	case next != nil:
		r.remark("the checkpoint at size %d is signed by %s alone: the rotation to %s, of position %d, wasn't finished by then, or was taken back",
			size, by.ids, shortKey(next.VerifierKey), next.Position)
	}
}
