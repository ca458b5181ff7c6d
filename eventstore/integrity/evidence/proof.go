package evidence

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"annals/eventstore"
	"annals/eventstore/integrity"
)

// Formats of proof files.
const (
	InclusionFormat   = "annals-inclusion/1"
	ConsistencyFormat = "annals-consistency/1"
)

// MaxProof bounds a proof file, in bytes.
const MaxProof = 4 << 20

// Proof proves that an event is in a log (its format is InclusionFormat), or that a log continues an earlier one
// (ConsistencyFormat). Its JSON form has a line for each member, and one for each hash, for those who check it by hand.
type Proof struct {
	Format string `json:"format"`

	// Of an event.
	Position       int64           `json:"position,omitempty"`
	Leaf           json.RawMessage `json:"leaf,omitempty"`        // the leaf's bytes
	DataSalt       string          `json:"data_salt,omitempty"`   // hexadecimal
	DataBase64     string          `json:"data_base64,omitempty"` // the stored bytes
	MetadataSalt   string          `json:"metadata_salt,omitempty"`
	MetadataBase64 string          `json:"metadata_base64,omitempty"`

	// Of a log that goes on.
	From string `json:"from,omitempty"` // the earlier signed note

	Size   int64            `json:"size"`   // of the tree
	Hashes []integrity.Hash `json:"hashes"` // RFC 6962, section 2.1.1 or 2.1.2; base64
	Note   string           `json:"note"`   // the signed checkpoint of the tree
	Keys   []KeyRecord      `json:"keys"`   // the log's
}

// Bytes is the proof's file.
func (p *Proof) Bytes() ([]byte, error) {
	leaf := p.Leaf
	shown := *p
	if leaf != nil {
		shown.Leaf = json.RawMessage(`"LEAF"`) // in its place the leaf goes as it is: indented, it would have other bytes
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(shown); err != nil {
		return nil, fmt.Errorf("write a proof: %w", err)
	}
	return bytes.Replace(out.Bytes(), []byte("\n  \"leaf\": \"LEAF\""), append([]byte("\n  \"leaf\": "), leaf...), 1), nil
}

// ParseProof reads a proof's file, strictly. It fails with ErrBundle.
func ParseProof(data []byte) (*Proof, error) {
	var p Proof
	if err := parseStrict(data, &p); err != nil {
		return nil, err
	}
	again, err := p.Bytes()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(bytes.TrimRight(data, "\n"), bytes.TrimRight(again, "\n")) {
		return nil, fmt.Errorf("%w: it isn't written as the format demands", ErrBundle)
	}
	if p.Format != InclusionFormat && p.Format != ConsistencyFormat {
		return nil, fmt.Errorf("%w: a proof of the format %.40q", ErrBundle, p.Format)
	}
	return &p, nil
}

// Prove proves that the event at a position is in the log, in the tree of a signed size; 0: of the latest. It fails with
// integrity.ErrNotSealed, integrity.ErrNoCheckpoint, or a refusal when there is no such event.
func Prove(ctx context.Context, s Source, position, size int64) (*Proof, error) {
	p, err := s.newProof(ctx, InclusionFormat, size)
	if err != nil {
		return nil, err
	}
	record, err := s.Records.Record(ctx, eventstore.AllClients, position)
	if err != nil {
		return nil, err
	}
	leaf, err := record.Leaf()
	if err != nil {
		return nil, err
	}
	if p.Leaf, err = leaf.Bytes(); err != nil {
		return nil, err
	}
	inclusion, err := s.Log.Inclusion(ctx, position, p.Size)
	if err != nil {
		return nil, fmt.Errorf("prove position %d in the tree of size %d: %w", position, p.Size, err)
	}
	p.Position, p.Hashes = position, append([]integrity.Hash{}, inclusion.Hashes...)
	p.DataSalt, p.DataBase64 = hex.EncodeToString(record.DataSalt), base64.StdEncoding.EncodeToString(record.Data)
	p.MetadataSalt, p.MetadataBase64 = hex.EncodeToString(record.MetadataSalt), base64.StdEncoding.EncodeToString(record.Metadata)
	return p, nil
}

// ProveContinues proves that the tree of a signed size (0: of the latest) continues the one of an earlier signed note. Like
// Prove it proves what the tree has: whether that is what the note says is found by who verifies.
func ProveContinues(ctx context.Context, s Source, earlier Kept, size int64) (*Proof, error) {
	c, err := unsigned(earlier.Note)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", earlier.Name, err)
	}
	p, err := s.newProof(ctx, ConsistencyFormat, size)
	if err != nil {
		return nil, err
	}
	p.From, p.Hashes = string(earlier.Note), []integrity.Hash{}
	if c.Size == 0 {
		return p, nil
	}
	consistency, err := s.Log.Consistency(ctx, c.Size, p.Size)
	if err != nil {
		return nil, fmt.Errorf("prove that size %d continues %d: %w", p.Size, c.Size, err)
	}
	p.Hashes = append(p.Hashes, consistency.Hashes...)
	return p, nil
}

func (s Source) newProof(ctx context.Context, format string, size int64) (*Proof, error) {
	checkpoint, err := s.Log.Latest(ctx)
	if size > 0 {
		checkpoint, err = s.Log.CheckpointAt(ctx, size)
	}
	if err != nil {
		return nil, err
	}
	keys, err := recordedKeys(ctx, s.Records, s.Keys)
	if err != nil {
		return nil, err
	}
	return &Proof{Format: format, Size: checkpoint.Size, Note: checkpoint.Note, Keys: append([]KeyRecord{}, keys...)}, nil
}

// VerifyProof verifies a proof's file. What is wrong with it is in the report. An error is about the options.
func VerifyProof(data []byte, o Options) (*Report, error) {
	r := newReport("proof")
	p, err := ParseProof(data)
	if err != nil {
		if json.Valid(data) {
			r.altered(0, "%v", err)
		} else {
			r.incomplete(0, "%v", err)
		}
		return r.finish(), nil
	}
	c, err := unsigned([]byte(p.Note))
	if err != nil {
		r.altered(0, "%v", err)
		return r.finish(), nil
	}
	r.tree(c.Origin, c.Size, c.Root)
	t, err := newTrust(r, c.Origin, p.Keys, o.Keys)
	if err != nil {
		return nil, fmt.Errorf("verify a proof: %w", err)
	}
	r.KeyGiven = t.given
	_, by, signedErr := t.open([]byte(p.Note))
	if signedErr != nil {
		r.altered(0, "%v", signedErr)
	} else {
		r.SignedBy, r.Checkpoints = by.ids, 1
	}
	if c.Size != p.Size {
		r.altered(0, "the proof is of size %d, and the checkpoint of %d", p.Size, c.Size)
	}
	marks, err := readKept(r, t, c.Origin, o.Since)
	if err != nil {
		return nil, fmt.Errorf("verify a proof: %w", err)
	}
	if p.Format == InclusionFormat {
		p.verifyInclusion(r, c, marks)
	} else {
		marks = append(marks, p.verifyConsistency(r, c, t, marks)...)
	}
	if signedErr == nil {
		t.newest(r, c.Size, by, marks)
	}
	return r.finish(), nil
}

func (p *Proof) verifyInclusion(r *Report, c integrity.Checkpoint, marks []*kept) {
	r.Scope = fmt.Sprintf("position %d of %d", p.Position, c.Size)
	leaf, err := integrity.ParseLeaf(p.Leaf)
	if err != nil {
		r.altered(p.Position, "%v", err)
		return
	}
	if leaf.Position != p.Position {
		r.altered(p.Position, "the leaf is that of position %d", leaf.Position)
	}
	r.Events = 1
	if err := integrity.VerifyInclusion(c, p.Position, integrity.LeafHash(p.Leaf), p.Hashes); err != nil {
		r.altered(p.Position, "%v", err)
	}
	whole := true
	for _, part := range []struct {
		name, salt, stored string
		hash               [32]byte
	}{{"data", p.DataSalt, p.DataBase64, leaf.DataHash}, {"metadata", p.MetadataSalt, p.MetadataBase64, leaf.MetadataHash}} {
		if part.salt == "" {
			whole = false
			r.incomplete(p.Position, "%s is absent: only the leaf was verified", part.name)
			continue
		}
		salt, saltErr := hex.DecodeString(part.salt)
		stored, storedErr := base64.StdEncoding.DecodeString(part.stored)
		if saltErr != nil || storedErr != nil || !(payload{salt, stored}).fits(part.hash) ||
			hex.EncodeToString(salt) != part.salt || base64.StdEncoding.EncodeToString(stored) != part.stored {
			whole = false
			r.altered(p.Position, "%s isn't what was sealed", part.name)
		}
	}
	if whole {
		r.Payloads = 1
	}
	for _, mark := range marks {
		if mark.checkpoint.Size == c.Size {
			compare(r, mark, c.Root)
			continue
		}
		r.Since = append(r.Since, Comparison{Name: mark.name, Size: mark.checkpoint.Size})
		r.incomplete(0, "%s is of another size, %d: prove the position in the tree of that size, or that this one continues it (annals audit prove --from)",
			mark.name, mark.checkpoint.Size)
	}
}

// verifyConsistency gives the earlier checkpoint, if it is signed.
func (p *Proof) verifyConsistency(r *Report, c integrity.Checkpoint, t *trust, marks []*kept) (from []*kept) {
	earlier, err := unsigned([]byte(p.From))
	if err != nil {
		r.altered(0, "%v", err)
		return nil
	}
	r.Scope = fmt.Sprintf("the log of %d events continues the one of %d", c.Size, earlier.Size)
	if earlier.Origin != c.Origin {
		r.altered(0, "the earlier checkpoint is of the log %s, and the later of %s", earlier.Origin, c.Origin)
	}
	if _, by, err := t.open([]byte(p.From)); err != nil {
		r.altered(0, "the earlier checkpoint: %v", err)
	} else {
		r.Checkpoints++
		from = []*kept{{checkpoint: earlier, rank: by.rank}}
	}
	if err := integrity.VerifyConsistency(earlier, c, p.Hashes); err != nil {
		r.altered(0, "%v", err)
	}
	for _, mark := range marks {
		switch mark.checkpoint.Size {
		case earlier.Size:
			compare(r, mark, earlier.Root)
		case c.Size:
			compare(r, mark, c.Root)
		default:
			r.Since = append(r.Since, Comparison{Name: mark.name, Size: mark.checkpoint.Size})
			r.incomplete(0, "%s is of another size, %d", mark.name, mark.checkpoint.Size)
		}
	}
	return from
}
