package evidence

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/integrity"
)

// KeyRecord is what the log says of one of its keys: when it became the log's, and what the key before said to it.
type KeyRecord struct {
	VerifierKey string `json:"verifier_key"`
	Position    int64  `json:"position"`  // of the event that made it the log's key
	Replaces    string `json:"replaces"`  // the verifier key before; "" for the first
	Statement   string `json:"statement"` // signed note about the rotation; "" for the first
}

// maxKeys bounds the keys of a log: a rotation a day for a hundred years are fewer.
const maxKeys = 50_000

// keyEvent is the data of signing_key.created and signing_key.rotated.
type keyEvent struct {
	Origin      string `json:"origin"`
	VerifierKey string `json:"verifier_key"`
	Replaces    string `json:"replaces"`
	Statement   string `json:"statement"`
}

// recordedKeys reads the events about the log's keys, whose stream is given, up to a position.
func recordedKeys(ctx context.Context, records *integrity.Records, stream domain.ID, to int64) (keys []KeyRecord, err error) {
	selection := integrity.Selection{Client: eventstore.SystemClient, AggregateID: &stream, To: to}
	err = records.Each(ctx, selection, func(r integrity.Record) error {
		if r.EventType != "signing_key.created" && r.EventType != "signing_key.rotated" {
			return nil
		}
		var e keyEvent
		if err := json.Unmarshal(r.Data, &e); err != nil {
			return fmt.Errorf("%w: position %d: %w", integrity.ErrDamaged, r.Position, err)
		}
		if len(keys) == maxKeys {
			return fmt.Errorf("%w: the log has more than %d keys", integrity.ErrDamaged, maxKeys)
		}
		keys = append(keys, KeyRecord{
			VerifierKey: e.VerifierKey, Position: r.Position, Replaces: e.Replaces, Statement: e.Statement,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the log's keys: %w", err)
	}
	return keys, nil
}

// trust is the keys whose signatures count.
type trust struct {
	verifiers note.Verifiers
	rank      map[string]int // by key id: their order
	given     bool
}

// newTrust takes the keys that the verifier gave, and those that these vouch for; when none was given, the log's own.
// Rotations that nothing vouches for are noted in the report.
func newTrust(r *Report, origin string, records []KeyRecord, given []string) (*trust, error) {
	t := &trust{rank: map[string]int{}, given: len(given) > 0}
	trusted := map[string]bool{}
	var list []note.Verifier
	trustKey := func(key string, rank int) error {
		if key = strings.TrimSpace(key); trusted[key] {
			return nil
		}
		v, err := note.NewVerifier(key)
		if err != nil {
			return fmt.Errorf("the verifier key %.80q: %w", key, err)
		}
		if id := keyID(v.Name(), v.KeyHash()); t.rank[id] == 0 { // two keys of the same id can't be told apart
			trusted[key], t.rank[id] = true, rank
			list = append(list, v)
		}
		return nil
	}
	for _, key := range given {
		if err := trustKey(key, 1); err != nil {
			return nil, err
		}
	}
	for i, k := range records {
		vouched := i == 0
		if k.Replaces != "" {
			rotation := integrity.Rotation{Origin: origin, VerifierKey: k.VerifierKey, Replaces: k.Replaces, Statement: k.Statement}
			err := integrity.VerifyRotation(rotation)
			if vouched = err == nil; !vouched && !t.given {
				r.remark("the key %s, of position %d, isn't vouched for by the one before: it was said to be lost", shortKey(k.VerifierKey), k.Position)
			}
			vouched = vouched && (!t.given || trusted[k.Replaces])
		}
		if t.given && (k.Replaces == "" || !vouched) && !trusted[k.VerifierKey] {
			continue
		}
		if !t.given && i > 0 && k.Replaces != records[i-1].VerifierKey {
			r.altered(k.Position, "the key %s replaces %s, which wasn't the log's", shortKey(k.VerifierKey), shortKey(k.Replaces))
		}
		if err := trustKey(k.VerifierKey, i+2); err != nil {
			r.altered(k.Position, "%v", err)
		}
	}
	t.verifiers = note.VerifierList(list...)
	return t, nil
}

// open reads a signed checkpoint and gives the ids of the trusted keys that signed it, and the rank of the newest.
func (t *trust) open(signed []byte) (c integrity.Checkpoint, ids []string, rank int, err error) {
	c, n, err := integrity.ParseCheckpoint(signed, t.verifiers)
	if err != nil {
		return c, nil, 0, err
	}
	for _, s := range n.Sigs {
		ids = append(ids, fmt.Sprintf("%08x", s.Hash))
		rank = max(rank, t.rank[keyID(s.Name, s.Hash)])
	}
	return c, ids, rank, nil
}

func keyID(name string, hash uint32) string { return fmt.Sprintf("%s+%08x", name, hash) }

// shortKey is the id in a verifier key.
func shortKey(verifierKey string) string {
	v, err := note.NewVerifier(strings.TrimSpace(verifierKey))
	if err != nil {
		return fmt.Sprintf("%.20q", verifierKey)
	}
	return fmt.Sprintf("%08x", v.KeyHash())
}

// Kept is a checkpoint that the verifier kept.
type Kept struct {
	Name string // where it is from, for people
	Note []byte
}

// maxNote bounds a signed note: 100 signatures have less.
const maxNote = 64 << 10

// unsigned reads a note's checkpoint without looking at its signatures.
func unsigned(signed []byte) (integrity.Checkpoint, error) {
	if len(signed) > maxNote {
		return integrity.Checkpoint{}, fmt.Errorf("%w: it has more than %d bytes", integrity.ErrCheckpoint, maxNote)
	}
	_, err := note.Open(signed, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return integrity.Checkpoint{}, fmt.Errorf("%w: %w", integrity.ErrCheckpoint, err)
	}
	for _, s := range unverified.Note.UnverifiedSigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return integrity.Checkpoint{}, fmt.Errorf("%w: a signature isn't written as the format demands", integrity.ErrCheckpoint)
		}
	}
	return integrity.ParseCheckpointText(unverified.Note.Text)
}

// kept is a Kept that was read.
type kept struct {
	name       string
	checkpoint integrity.Checkpoint
}

// readKept reads the checkpoints that the verifier kept. One that can't be read is an error: the verifier's mistake. One
// of another log, or signed by no trusted key, is a finding: the log isn't the one that it was.
func readKept(r *Report, t *trust, origin string, list []Kept) ([]*kept, error) {
	var all []*kept
	for _, k := range list {
		c, err := unsigned(k.Note)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
		if c.Origin != origin {
			r.altered(0, "the checkpoint %s is of the log %s, and this is %s", k.Name, c.Origin, origin)
			r.Since = append(r.Since, Comparison{Name: k.Name, Size: c.Size})
			continue
		}
		if _, _, _, err := t.open(k.Note); err != nil {
			r.altered(0, "the checkpoint %s, of size %d, is signed by no key that counts here: the log's keys aren't what they were, or the note isn't what was signed", k.Name, c.Size)
		}
		all = append(all, &kept{name: k.Name, checkpoint: c})
	}
	return all, nil
}
