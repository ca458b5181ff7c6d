package integrity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"annals/domain"
	"annals/eventstore"
)

// LeafFormat names the form of the leaves of events with leaf version 1.
const LeafFormat = "evt/1"

// SaltBytes is the size of a salt. Another size would let bytes move between a salt and what it hides.
const SaltBytes = 16

// Hash is a SHA-256 hash of the tree. Its JSON form is base64.
type Hash = tlog.Hash

// Reasons why a leaf can't be made or read.
var (
	// ErrLeafVersion: the event's leaf is of a format that this program doesn't know; a newer one does.
	ErrLeafVersion = errors.New("the leaf's format is not known")
	// ErrLeaf: the bytes aren't a leaf, or the event can't have one.
	ErrLeaf = errors.New("not a leaf")
)

// Leaf is what the tree commits to of one event. Times have microseconds and are UTC.
type Leaf struct {
	ActorID          string
	AggregateID      domain.ID
	AggregateType    string
	AggregateVersion int64
	CausationID      string // empty: none
	ClientID         string
	CorrelationID    string            // empty: none
	DataHash         [sha256.Size]byte // Commitment of the data
	EventID          domain.ID
	EventType        string
	MetadataHash     [sha256.Size]byte // Commitment of the metadata
	OccurredAt       time.Time
	Position         int64
	RecordedAt       time.Time
	RequestID        string // empty: none
	SchemaVersion    int
}

// Record is an event as the log stores it, with what its leaf needs beside the envelope.
type Record struct {
	eventstore.Envelope
	LeafVersion  int
	DataSalt     []byte
	MetadataSalt []byte
}

// Commitment is the hash that stands for stored bytes in a leaf.
func Commitment(salt, stored []byte) [sha256.Size]byte {
	return sha256.Sum256(append(append(make([]byte, 0, len(salt)+len(stored)), salt...), stored...))
}

// Leaf gives the event's leaf. It fails with ErrLeafVersion or ErrLeaf.
func (r *Record) Leaf() (Leaf, error) {
	leaf, _, err := r.leaf(nil)
	return leaf, err
}

// leaf is Leaf with memory to work in, which it gives back.
func (r *Record) leaf(scratch []byte) (Leaf, []byte, error) {
	switch {
	case r.LeafVersion != 1:
		return Leaf{}, scratch, fmt.Errorf("position %d: %w: version %d", r.Position, ErrLeafVersion, r.LeafVersion)
	case len(r.DataSalt) != SaltBytes || len(r.MetadataSalt) != SaltBytes:
		return Leaf{}, scratch, fmt.Errorf("position %d: %w: its salts have %d and %d bytes instead of %d",
			r.Position, ErrLeaf, len(r.DataSalt), len(r.MetadataSalt), SaltBytes)
	}
	leaf := Leaf{
		ActorID: r.ActorID, AggregateID: r.AggregateID, AggregateType: r.AggregateType,
		AggregateVersion: r.AggregateVersion, CausationID: r.CausationID, ClientID: r.ClientID,
		CorrelationID: r.CorrelationID, EventID: r.EventID, EventType: r.EventType, OccurredAt: r.OccurredAt,
		Position: r.Position, RecordedAt: r.RecordedAt, RequestID: r.RequestID, SchemaVersion: r.SchemaVersion,
	}
	scratch = append(append(scratch[:0], r.DataSalt...), r.Data...)
	leaf.DataHash = sha256.Sum256(scratch)
	scratch = append(append(scratch[:0], r.MetadataSalt...), r.Metadata...)
	leaf.MetadataHash = sha256.Sum256(scratch)
	return leaf, scratch, nil
}

// Append adds the leaf's bytes to buf. It fails with ErrLeaf for text that isn't UTF-8, which has no leaf.
func (l *Leaf) Append(buf []byte) ([]byte, error) {
	e := leafEncoder{b: buf}
	e.text(`{"actor_id":`, l.ActorID)
	e.id(`,"aggregate_id":`, l.AggregateID)
	e.text(`,"aggregate_type":`, l.AggregateType)
	e.number(`,"aggregate_version":`, l.AggregateVersion)
	e.optional(`,"causation_id":`, l.CausationID)
	e.text(`,"client_id":`, l.ClientID)
	e.optional(`,"correlation_id":`, l.CorrelationID)
	e.hash(`,"data_hash":`, &l.DataHash)
	e.id(`,"event_id":`, l.EventID)
	e.text(`,"event_type":`, l.EventType)
	e.text(`,"format":`, LeafFormat)
	e.hash(`,"metadata_hash":`, &l.MetadataHash)
	e.number(`,"occurred_at":`, l.OccurredAt.UnixMicro())
	e.number(`,"position":`, l.Position)
	e.number(`,"recorded_at":`, l.RecordedAt.UnixMicro())
	e.optional(`,"request_id":`, l.RequestID)
	e.number(`,"schema_version":`, int64(l.SchemaVersion))
	if e.invalid {
		return buf, fmt.Errorf("position %d: %w: text that isn't UTF-8", l.Position, ErrLeaf)
	}
	return append(e.b, '}'), nil
}

// Bytes gives the leaf's bytes. It fails as Append does.
func (l *Leaf) Bytes() ([]byte, error) { return l.Append(make([]byte, 0, 1024)) }

// Hash gives the leaf's hash in the tree. It fails as Append does.
func (l *Leaf) Hash() (Hash, error) {
	hash, _, err := l.hash(nil)
	return hash, err
}

// hash is Hash with memory to work in, which it gives back.
func (l *Leaf) hash(scratch []byte) (Hash, []byte, error) {
	scratch, err := l.Append(append(scratch[:0], 0)) // RFC 6962, section 2.1: a leaf is told from a node by its first byte
	if err != nil {
		return Hash{}, scratch, err
	}
	return sha256.Sum256(scratch), scratch, nil
}

// LeafHash gives the hash of a leaf's bytes in the tree.
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// leafEncoder writes members. Their names, with all that surrounds them, are given by the caller.
type leafEncoder struct {
	b       []byte
	invalid bool
}

func (e *leafEncoder) number(name string, n int64) {
	e.b = append(append(e.b, name...), '"')
	e.b = append(strconv.AppendInt(e.b, n, 10), '"')
}

func (e *leafEncoder) hash(name string, h *[sha256.Size]byte) {
	e.b = append(append(e.b, name...), '"')
	e.b = append(hex.AppendEncode(e.b, h[:]), '"')
}

func (e *leafEncoder) id(name string, id domain.ID) {
	e.b = append(append(e.b, name...), '"')
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			e.b = append(e.b, '-')
		}
		e.b = hex.AppendEncode(e.b, part)
	}
	e.b = append(e.b, '"')
}

func (e *leafEncoder) optional(name, s string) {
	if s == "" {
		e.b = append(append(e.b, name...), "null"...)
		return
	}
	e.text(name, s)
}

func (e *leafEncoder) text(name, s string) {
	e.b = append(append(e.b, name...), '"')
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] >= ' ' && s[n] <= '~' && s[n] != '"' && s[n] != '\\' {
			n++
		}
		e.b = append(e.b, s[:n]...)
		if s = s[n:]; s == "" {
			break
		}
		r, size := utf8.DecodeRuneInString(s)
		e.invalid = e.invalid || r == utf8.RuneError && size == 1
		e.escape(r)
		s = s[size:]
	}
	e.b = append(e.b, '"')
}

func (e *leafEncoder) escape(r rune) {
	const short = "\"\\\b\f\n\r\t"
	const letters = `"\bfnrt`
	for i := range len(short) {
		if rune(short[i]) == r {
			e.b = append(e.b, '\\', letters[i])
			return
		}
	}
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		e.unicode(high)
		r = low
	}
	e.unicode(r)
}

func (e *leafEncoder) unicode(r rune) {
	const digits = "0123456789abcdef"
	e.b = append(e.b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// leafJSON is a leaf as JSON has it.
type leafJSON struct {
	ActorID          *string `json:"actor_id"`
	AggregateID      *string `json:"aggregate_id"`
	AggregateType    *string `json:"aggregate_type"`
	AggregateVersion *string `json:"aggregate_version"`
	CausationID      *string `json:"causation_id"`
	ClientID         *string `json:"client_id"`
	CorrelationID    *string `json:"correlation_id"`
	DataHash         *string `json:"data_hash"`
	EventID          *string `json:"event_id"`
	EventType        *string `json:"event_type"`
	Format           *string `json:"format"`
	MetadataHash     *string `json:"metadata_hash"`
	OccurredAt       *string `json:"occurred_at"`
	Position         *string `json:"position"`
	RecordedAt       *string `json:"recorded_at"`
	RequestID        *string `json:"request_id"`
	SchemaVersion    *string `json:"schema_version"`
}

// ParseLeaf reads a leaf's bytes, strictly: what it accepts, Append writes again byte for byte. Everything else is ErrLeaf
// or, for another format, ErrLeafVersion.
func ParseLeaf(data []byte) (Leaf, error) {
	var v leafJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return Leaf{}, fmt.Errorf("%w: %w", ErrLeaf, err)
	}
	if v.Format != nil && *v.Format != LeafFormat {
		return Leaf{}, fmt.Errorf("%w: %.20q", ErrLeafVersion, *v.Format)
	}
	var p leafParser
	leaf := Leaf{
		ActorID: p.text(v.ActorID), AggregateID: p.id(v.AggregateID), AggregateType: p.text(v.AggregateType),
		AggregateVersion: p.number(v.AggregateVersion, 64), ClientID: p.text(v.ClientID), DataHash: p.hash(v.DataHash),
		EventID: p.id(v.EventID), EventType: p.text(v.EventType), MetadataHash: p.hash(v.MetadataHash),
		OccurredAt: time.UnixMicro(p.number(v.OccurredAt, 64)).UTC(), Position: p.number(v.Position, 64),
		RecordedAt: time.UnixMicro(p.number(v.RecordedAt, 64)).UTC(), SchemaVersion: int(p.number(v.SchemaVersion, 32)),
	}
	for to, from := range map[*string]*string{
		&leaf.CausationID: v.CausationID, &leaf.CorrelationID: v.CorrelationID, &leaf.RequestID: v.RequestID,
	} {
		if from != nil {
			*to = *from
		}
	}
	if p.failed != nil {
		return Leaf{}, fmt.Errorf("%w: %w", ErrLeaf, p.failed)
	}
	again, err := leaf.Bytes()
	if err != nil {
		return Leaf{}, err
	}
	if !bytes.Equal(again, data) {
		return Leaf{}, fmt.Errorf("%w: it isn't written as the format demands", ErrLeaf)
	}
	return leaf, nil
}

// leafParser reads values and keeps the first error.
type leafParser struct{ failed error }

func (p *leafParser) text(s *string) string {
	if s == nil {
		p.fail(errors.New("a member is missing"))
		return ""
	}
	return *s
}

func (p *leafParser) number(s *string, bits int) int64 {
	n, err := strconv.ParseInt(p.text(s), 10, bits)
	p.fail(err)
	return n
}

func (p *leafParser) id(s *string) domain.ID {
	id, err := domain.ParseID(p.text(s))
	p.fail(err)
	return id
}

func (p *leafParser) hash(s *string) (h [sha256.Size]byte) {
	raw, err := hex.DecodeString(p.text(s))
	if err == nil && len(raw) != len(h) {
		err = errors.New("a hash has 32 bytes")
	}
	p.fail(err)
	copy(h[:], raw)
	return h
}

func (p *leafParser) fail(err error) {
	if p.failed == nil {
		p.failed = err
	}
}
