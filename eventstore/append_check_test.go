package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lib/pq"

	"annals/domain"
	"annals/eventstore/pgtest"
)

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	a := freshID()
	edit := func(change func(*AppendRequest)) AppendRequest {
		r := withKey(withClaim(withRelease(onStream(a, 2, 2), "old", a), "new", a), "k", "f", `{}`)
		change(&r)
		return r
	}
	many := func(n int) AppendRequest { return onStream(a, 0, n) }
	sized := func(n int) []byte { return append(append([]byte(`"`), bytes.Repeat([]byte("x"), n-2)...), '"') }
	for _, c := range []struct {
		name string
		req  AppendRequest
		ok   bool
	}{
		{"all in order", edit(func(*AppendRequest) {}), true},
		{"an event of the largest size", edit(func(r *AppendRequest) { r.Events[0].Data = sized(MaxEventBytes - 2) }), true},
		{"many events", many(maxParts), true},
		{"empty", AppendRequest{Client: "acme"}, false},
		{"no client", edit(func(r *AppendRequest) { r.Client = "" }), false},
		{"all clients", edit(func(r *AppendRequest) { r.Client = AllClients }), false},
		{"a NUL in the client", edit(func(r *AppendRequest) { r.Client = "a\x00" }), false},
		{"too many events", many(maxParts + 1), false},
		{"a stream without id", edit(func(r *AppendRequest) { r.Streams[0].AggregateID = domain.ID{} }), false},
		{"a negative expectation", edit(func(r *AppendRequest) { r.Streams[0].Expected = -1 }), false},
		{"an expectation at the end of all versions", edit(func(r *AppendRequest) { r.Streams[0].Expected = math.MaxInt64 }), false},
		{"a stream twice", edit(func(r *AppendRequest) { r.Streams = append(r.Streams, r.Streams[0]) }), false},
		{"a stream twice among many", edit(func(r *AppendRequest) {
			for range 20 {
				r.Streams = append(r.Streams, StreamExpectation{AggregateID: freshID()})
			}
			r.Streams = append(r.Streams, r.Streams[0])
		}), false},
		{"an event on no stream", edit(func(r *AppendRequest) { r.Events[1].AggregateID = freshID() }), false},
		{"a gap in the versions", edit(func(r *AppendRequest) { r.Events[1].AggregateVersion++ }), false},
		{"a gap in the versions of many", edit(func(r *AppendRequest) {
			*r = many(20)
			r.Events[19].AggregateVersion++
		}), false},
		{"versions not above the expected", edit(func(r *AppendRequest) { r.Streams[0].Expected++ }), false},
		{"an event id twice", edit(func(r *AppendRequest) { r.Events[1].EventID = r.Events[0].EventID }), false},
		{"an event id twice among many", edit(func(r *AppendRequest) {
			*r = many(20)
			r.Events[19].EventID = r.Events[3].EventID
		}), false},
		{"an event without id", edit(func(r *AppendRequest) { r.Events[0].EventID = domain.ID{} }), false},
		{"an event without type", edit(func(r *AppendRequest) { r.Events[0].EventType = "" }), false},
		{"an event without aggregate type", edit(func(r *AppendRequest) { r.Events[0].AggregateType = "" }), false},
		{"a schema version of 0", edit(func(r *AppendRequest) { r.Events[0].SchemaVersion = 0 }), false},
		{"a schema version above 32 bits", edit(func(r *AppendRequest) { r.Events[0].SchemaVersion = math.MaxInt32 + 1 }), false},
		{"a time before all calendars", edit(func(r *AppendRequest) { r.Events[0].OccurredAt = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }), false},
		{"a time that RFC 3339 can't write", edit(func(r *AppendRequest) { r.Events[0].OccurredAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }), false},
		{"an actor that isn't UTF-8", edit(func(r *AppendRequest) { r.Events[0].ActorID = "\xff" }), false},
		{"a NUL in the correlation", edit(func(r *AppendRequest) { r.Events[0].CorrelationID = "\x00" }), false},
		{"a NUL in the causation", edit(func(r *AppendRequest) { r.Events[0].CausationID = "\x00" }), false},
		{"a NUL in the request id", edit(func(r *AppendRequest) { r.Events[0].RequestID = "\x00" }), false},
		{"no data", edit(func(r *AppendRequest) { r.Events[0].Data = nil }), false},
		{"data that isn't JSON", edit(func(r *AppendRequest) { r.Events[0].Data = []byte(`{`) }), false},
		{"metadata that isn't an object", edit(func(r *AppendRequest) { r.Events[0].Metadata = []byte(`1`) }), false},
		{"an event that is too large", edit(func(r *AppendRequest) { r.Events[0].Data = sized(MaxEventBytes - 1) }), false},
		{"events that are too large together", edit(func(r *AppendRequest) {
			*r = many(20)
			for i := range r.Events {
				r.Events[i].Data = sized(MaxEventBytes - 2)
			}
		}), false},
		{"a claim without kind", edit(func(r *AppendRequest) { r.Claims[0].Kind = "" }), false},
		{"a claim without owner", edit(func(r *AppendRequest) { r.Claims[0].Owner = domain.ID{} }), false},
		{"a claim that is too long", edit(func(r *AppendRequest) { r.Claims[0].Value = strings.Repeat("x", maxValueBytes+1) }), false},
		{"a release with a NUL", edit(func(r *AppendRequest) { r.Releases[0].Value = "\x00" }), false},
		{"a key without scope", edit(func(r *AppendRequest) { r.Idempotency.Scope = "" }), false},
		{"an empty key", edit(func(r *AppendRequest) { r.Idempotency.Key = "" }), false},
		{"a key that is too long", edit(func(r *AppendRequest) { r.Idempotency.Key = strings.Repeat("x", maxKeyBytes+1) }), false},
		{"no fingerprint", edit(func(r *AppendRequest) { r.Idempotency.Fingerprint = nil }), false},
		{"a result that isn't an object", edit(func(r *AppendRequest) { r.Idempotency.Result = []byte(`[]`) }), false},
		{"a result that is too large", edit(func(r *AppendRequest) {
			r.Idempotency.Result = append(append([]byte(`{"x":`), sized(MaxEventBytes)...), '}')
		}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := c.req.Check()
			_, tooLarge := errors.AsType[*TooLargeError](err)
			if (err == nil) != c.ok || err != nil && !tooLarge && !errors.Is(err, ErrInvalidAppend) {
				t.Error(describe(err))
			}
			if tooLarge != (!c.ok && strings.Contains(c.name, "too large")) {
				t.Error(describe(err))
			}
		})
	}
}

// jsonSeeds are texts at the edges of what the checker, encoding/json and PostgreSQL accept.
func jsonSeeds() []string {
	return []string{
		`{}`, `{"a":[1,-0.5e+10,true,false,null,"x\u00e9\ud83d\ude00\\u0000"]}`, ` [ ] `, `"\u0000"`, `"\ud800"`,
		`"\ud800\u0041"`, `"\udc00"`, "\"\x00\"", "\"\x1f\"", "\"\xff\"", `01`, `-`, `1.`, `1e`, `{"a"}`, `{"a":1,}`, `[1,]`,
		`nul`, `tru`, `{"a":1}}`, `"\x"`, `"\u12g4"`, `{"a":{"b":{"c":[[[{}]]]}}}`, ``, ` `, `"`, `"\`, `"\u`, "\u2028",
		strings.Repeat("[", maxJSONDepth) + strings.Repeat("]", maxJSONDepth),
		strings.Repeat("[", maxJSONDepth+1) + strings.Repeat("]", maxJSONDepth+1), "\ufeff{}", `1E400`, `-0`, "\"\x7f\"",
	}
}

// FuzzCheckJSON holds the checker against encoding/json: it accepts nothing else, and refuses more only for the reasons
// it names.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range jsonSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkJSON(b, false)
		valid := json.Valid(b)
		switch {
		case err == nil && !valid:
			t.Fatalf("accepts %q", b)
		case err == errJSONUTF8 && utf8.Valid(b), err == errJSONSyntax && valid:
			t.Fatalf("%q: %v", b, err)
		case err == nil:
			var v any
			if json.Unmarshal(b, &v) == nil && !plain(v) {
				t.Fatalf("accepts %q with a NUL or a replaced character", b)
			}
		}
		object := err == nil && bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{"))
		if (checkJSON(b, true) == nil) != object {
			t.Fatalf("%q as an object: %v", b, checkJSON(b, true))
		}
	})
}

// plain reports whether no text of a decoded value holds a NUL. Half a surrogate pair would be decoded as U+FFFD, which
// a text may also hold by right, so that it is not looked for.
func plain(v any) bool {
	switch v := v.(type) {
	case string:
		return !strings.Contains(v, "\x00")
	case []any:
		for _, e := range v {
			if !plain(e) {
				return false
			}
		}
	case map[string]any:
		for k, e := range v {
			if !plain(k) || !plain(e) {
				return false
			}
		}
	}
	return true
}

// FuzzWire sends what passes the door to PostgreSQL: nothing is refused, and everything comes back as it was.
func FuzzWire(f *testing.F) {
	for _, s := range jsonSeeds() {
		f.Add(s, s, []byte(`{"d":`+s+`}`), []byte(`{}`), int64(1), 1)
	}
	f.Add("acme", "'\"\\{}(),NULL", []byte(`{ "a" : 1.0 , "a":2}`), []byte("{\n}"), int64(-62135596800), math.MaxInt32)
	db := pgtest.New(f)
	s := openSequencer(f, db.DSN)
	f.Fuzz(func(t *testing.T, client, text string, data, metadata []byte, second int64, schema int) {
		req := withKey(onStream(freshID(), 0, 2), freshID().String(), text+"f", `{}`)
		req.Client = client
		for i := range req.Events {
			e := &req.Events[i]
			e.ActorID, e.Data, e.Metadata, e.SchemaVersion = text, data, metadata, schema
			e.OccurredAt = time.Unix(second, 999_999_999)
		}
		if req.Check() != nil {
			return
		}
		out := mustAppend(t, s, req)
		var got struct {
			Client, Actor, Data, Metadata string
			Micro                         int64
			Schema                        int
		}
		if err := db.Get(&got, `SELECT client_id AS client, actor_id AS actor, data::text, metadata::text,
			(extract(epoch FROM occurred_at) * 1000000)::bigint AS micro, schema_version AS schema
			FROM annals.events WHERE position = $1`, out.FirstPosition+1); err != nil {
			t.Fatal(err)
		}
		if got.Client != client || got.Actor != text || got.Data != string(data) || got.Metadata != string(metadata) ||
			got.Micro != time.Unix(second, 999_999_999).UnixMicro() || got.Schema != schema {
			t.Fatalf("stored %+v", got)
		}
		// What the door lets through can also be read in SQL.
		if _, err := db.Exec(`SELECT data::jsonb, metadata::jsonb FROM annals.events WHERE position = $1`,
			out.FirstPosition); err != nil {
			if e, ok := errors.AsType[*pq.Error](err); !ok || e.Code != "22003" { // a number beyond numeric's range
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	var c caller
	r := c.request()
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r.Check(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.SetBytes(int64(len(r.Events[0].Data)))
		for b.Loop() {
			checkJSON(r.Events[0].Data, true)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(r.Events[0].Data)))
		for b.Loop() {
			json.Valid(r.Events[0].Data)
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var p parts
		var salts saltSource
		for b.Loop() {
			p.reset()
			p.encode(&r, &salts)
		}
	})
}
