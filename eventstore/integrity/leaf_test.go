package integrity_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/integrity"
)

// golden is an event, its leaf and the leaf's hash, frozen for ever.
type golden struct {
	Name         string              `json:"name"`
	Event        eventstore.Envelope `json:"event"`
	Metadata     string              `json:"metadata"`
	DataSalt     string              `json:"data_salt"`
	MetadataSalt string              `json:"metadata_salt"`
	Leaf         string              `json:"leaf"`
	LeafHash     string              `json:"leaf_hash"`
}

func (g golden) record(t testing.TB) integrity.Record {
	t.Helper()
	dataSalt, err := hex.DecodeString(g.DataSalt)
	check(t, err)
	metadataSalt, err := hex.DecodeString(g.MetadataSalt)
	check(t, err)
	r := integrity.Record{Envelope: g.Event, LeafVersion: 1, DataSalt: dataSalt, MetadataSalt: metadataSalt}
	r.Metadata = []byte(g.Metadata)
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func goldens(t testing.TB) []golden {
	t.Helper()
	data, err := os.ReadFile("testdata/leaves.v1.json")
	check(t, err)
	var list []golden
	check(t, json.Unmarshal(data, &list))
	if len(list) < 4 {
		t.Fatalf("%d golden leaves", len(list))
	}
	return list
}

func TestGoldenLeaves(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		r := g.record(t)
		leaf, err := r.Leaf()
		check(t, err)
		line, err := leaf.Bytes()
		check(t, err)
		if string(line) != g.Leaf {
			t.Errorf("%s:\n%s\nwant\n%s", g.Name, line, g.Leaf)
		}
		hash, err := leaf.Hash()
		check(t, err)
		if hex.EncodeToString(hash[:]) != g.LeafHash || integrity.LeafHash(line) != hash {
			t.Errorf("%s: hash %x", g.Name, hash)
		}
	}
}

// naive builds a leaf by other means: a map, sorted by encoding/json, escaped afterwards character by character.
func naive(r integrity.Record) string {
	commit := func(salt, data []byte) string {
		h := sha256.New()
		h.Write(salt)
		h.Write(data)
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	micros := func(at time.Time) string {
		return strconv.FormatInt(at.Unix()*1_000_000+int64(at.Nanosecond()/1000), 10)
	}
	members := map[string]any{
		"actor_id": r.ActorID, "aggregate_id": r.AggregateID, "aggregate_type": r.AggregateType,
		"aggregate_version": strconv.FormatInt(r.AggregateVersion, 10), "causation_id": r.CausationID, "client_id": r.ClientID,
		"correlation_id": r.CorrelationID, "data_hash": commit(r.DataSalt, r.Data), "event_id": r.EventID,
		"event_type": r.EventType, "format": "evt/1", "metadata_hash": commit(r.MetadataSalt, r.Metadata),
		"occurred_at": micros(r.OccurredAt), "position": strconv.FormatInt(r.Position, 10),
		"recorded_at": micros(r.RecordedAt), "request_id": r.RequestID, "schema_version": strconv.Itoa(r.SchemaVersion),
	}
	for _, name := range []string{"causation_id", "correlation_id", "request_id"} {
		if members[name] == "" {
			members[name] = nil
		}
	}
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(members); err != nil {
		panic(err)
	}
	var ascii strings.Builder
	for _, c := range strings.TrimSuffix(plain.String(), "\n") {
		switch {
		case c <= '~':
			ascii.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&ascii, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&ascii, `\u%04x`, c)
		}
	}
	return ascii.String()
}

func records() *rapid.Generator[integrity.Record] {
	return rapid.Custom(func(t *rapid.T) integrity.Record {
		id := rapid.Custom(func(t *rapid.T) (id domain.ID) {
			copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
			return id
		})
		moment := rapid.Custom(func(t *rapid.T) time.Time { return time.UnixMicro(rapid.Int64().Draw(t, "time")).UTC() })
		text, data, salt := rapid.String(), rapid.SliceOf(rapid.Byte()), rapid.SliceOfN(rapid.Byte(), 16, 16)
		return integrity.Record{LeafVersion: 1, DataSalt: salt.Draw(t, "salt"), MetadataSalt: salt.Draw(t, "salt"), Envelope: eventstore.Envelope{
			Position: rapid.Int64().Draw(t, "position"), EventID: id.Draw(t, "event"), EventType: text.Draw(t, "type"),
			SchemaVersion: int(rapid.Int32().Draw(t, "schema")), AggregateType: text.Draw(t, "aggregate"),
			AggregateID: id.Draw(t, "stream"), AggregateVersion: rapid.Int64().Draw(t, "version"),
			ClientID: text.Draw(t, "client"), ActorID: text.Draw(t, "actor"), OccurredAt: moment.Draw(t, "occurred"),
			RecordedAt: moment.Draw(t, "recorded"), CorrelationID: text.Draw(t, "correlation"),
			CausationID: text.Draw(t, "causation"), RequestID: text.Draw(t, "request"),
			Data: data.Draw(t, "data"), Metadata: data.Draw(t, "metadata"),
		}}
	})
}

func TestLeavesAreWhatTheirDescriptionSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := records().Draw(t, "record")
		leaf, err := r.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		line, err := leaf.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if string(line) != naive(r) {
			t.Fatalf("%s\nwant\n%s", line, naive(r))
		}
		parsed, err := integrity.ParseLeaf(line)
		if diff := cmp.Diff(leaf, parsed); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func TestParseLeafIsStrict(t *testing.T) {
	t.Parallel()
	line := goldens(t)[1].Leaf
	for name, altered := range map[string]string{
		"white space":        strings.Replace(line, `,"client_id"`, `, "client_id"`, 1),
		"a line feed":        line + "\n",
		"an unknown member":  strings.Replace(line, `{`, `{"aa":"x",`, 1),
		"a member missing":   strings.Replace(line, `"format":"evt/1",`, ``, 1),
		"a member twice":     strings.Replace(line, `"format":"evt/1",`, `"format":"evt/1","format":"evt/1",`, 1),
		"another order":      strings.Replace(strings.Replace(line, `"format":"evt/1",`, ``, 1), `{`, `{"format":"evt/1",`, 1),
		"a number":           strings.Replace(line, `"position":"7"`, `"position":7`, 1),
		"a leading zero":     strings.Replace(line, `"position":"7"`, `"position":"07"`, 1),
		"a plus":             strings.Replace(line, `"position":"7"`, `"position":"+7"`, 1),
		"null for text":      strings.Replace(line, `"event_type":"product.registered"`, `"event_type":null`, 1),
		"an empty cause":     strings.Replace(line, `"causation_id":null`, `"causation_id":""`, 1),
		"an escape too many": strings.Replace(line, `product.registered`, `\u0070roduct.registered`, 1),
		"capitals in a hash": strings.Replace(line, `"data_hash":"`, `"data_hash":"A`, 1),
		"no JSON":            line[:len(line)-1],
		"nothing":            "",
		"null":               "null",
	} {
		if altered == line {
			t.Fatalf("%s: nothing was altered", name)
		}
		if _, err := integrity.ParseLeaf([]byte(altered)); !errors.Is(err, integrity.ErrLeaf) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := integrity.ParseLeaf([]byte(strings.Replace(line, "evt/1", "evt/2", 1))); !errors.Is(err, integrity.ErrLeafVersion) {
		t.Errorf("another format: %v", err)
	}
}

func TestLeavesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*integrity.Record)
		want   error
	}{
		"a later version": {func(r *integrity.Record) { r.LeafVersion = 2 }, integrity.ErrLeafVersion},
		"a short salt":    {func(r *integrity.Record) { r.DataSalt = r.DataSalt[1:] }, integrity.ErrLeaf},
		"a long salt":     {func(r *integrity.Record) { r.MetadataSalt = append(r.MetadataSalt, 0) }, integrity.ErrLeaf},
		"broken text":     {func(r *integrity.Record) { r.ActorID = "\xff" }, integrity.ErrLeaf},
	} {
		r := goldens(t)[0].record(t)
		c.change(&r)
		leaf, err := r.Leaf()
		if err == nil {
			_, err = leaf.Hash()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every member counts: changing any changes the hash.
func TestEveryMemberIsCommittedTo(t *testing.T) {
	t.Parallel()
	g := goldens(t)[0]
	seen := map[integrity.Hash]string{}
	for name, change := range map[string]func(*integrity.Record){
		"nothing": func(*integrity.Record) {}, "position": func(r *integrity.Record) { r.Position++ },
		"event": func(r *integrity.Record) { r.EventID[3]++ }, "type": func(r *integrity.Record) { r.EventType += "x" },
		"schema": func(r *integrity.Record) { r.SchemaVersion++ }, "aggregate type": func(r *integrity.Record) { r.AggregateType += "x" },
		"aggregate": func(r *integrity.Record) { r.AggregateID[0]++ }, "version": func(r *integrity.Record) { r.AggregateVersion++ },
		"client": func(r *integrity.Record) { r.ClientID += "x" }, "actor": func(r *integrity.Record) { r.ActorID += "x" },
		"occurred":    func(r *integrity.Record) { r.OccurredAt = r.OccurredAt.Add(time.Microsecond) },
		"recorded":    func(r *integrity.Record) { r.RecordedAt = r.RecordedAt.Add(time.Microsecond) },
		"correlation": func(r *integrity.Record) { r.CorrelationID += "x" }, "causation": func(r *integrity.Record) { r.CausationID += "x" },
		"request": func(r *integrity.Record) { r.RequestID += "x" }, "data": func(r *integrity.Record) { r.Data = append(r.Data, ' ') },
		"metadata": func(r *integrity.Record) { r.Metadata = append(r.Metadata, ' ') },
		"salt":     func(r *integrity.Record) { r.DataSalt[0]++ }, "metadata salt": func(r *integrity.Record) { r.MetadataSalt[0]++ },
	} {
		r := g.record(t)
		change(&r)
		leaf, err := r.Leaf()
		check(t, err)
		hash, err := leaf.Hash()
		check(t, err)
		if other, taken := seen[hash]; taken {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
}

func FuzzParseLeaf(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add([]byte(g.Leaf))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		leaf, err := integrity.ParseLeaf(data)
		if err != nil {
			return
		}
		again, err := leaf.Bytes()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q became %q: %v", data, again, err)
		}
	})
}
