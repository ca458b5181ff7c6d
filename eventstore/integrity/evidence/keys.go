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

// recordedKeys reads the events about the log's keys, whose stream is given. A key may sign a tree that its event isn't in
// yet, so they are never read up to a checkpoint's size only.
func recordedKeys(ctx context.Context, records *integrity.Records, stream domain.ID) (keys []KeyRecord, err error) {
	selection := integrity.Selection{Client: eventstore.SystemClient, AggregateID: &stream}
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

// kept is a Kept that was read, or a checkpoint that came with what is verified, which has no name.
type kept struct {
	name       string
	checkpoint integrity.Checkpoint
	rank       int // of the newest key that signed it
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
		_, signed, err := t.open(k.Note)
		if err != nil {
			r.altered(0, "the checkpoint %s, of size %d, is signed by no key that counts here: the log's keys aren't what they were, or the note isn't what was signed", k.Name, c.Size)
		}
		all = append(all, &kept{name: k.Name, checkpoint: c, rank: signed.rank})
	}
	return all, nil
}
