package rest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"annals/eventstore/integrity"
	"annals/projections/sealer"
)

// unrecorded keeps keys out of the log: positions stay what the tests expect.
type unrecorded struct{}

func (unrecorded) CurrentKey(context.Context) (string, error)                    { return "", nil }
func (unrecorded) KeyCreated(context.Context, string, string) (int64, error)     { return 1, nil }
func (unrecorded) KeyRotated(context.Context, integrity.Rotation) (int64, error) { return 2, nil }

// sealed makes a server seal, and sign without delay.
func sealed(b *bench) {
	b.t.Helper()
	keys := b.signingKeys()
	check(b.t, keys.Ensure(b.t.Context()))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		integrity.NewSigner(keys, 5*time.Millisecond, b.logger).Run(ctx)
	}()
	b.t.Cleanup(func() { stop(); <-done })
}

func (b *bench) signingKeys() *integrity.Keys {
	private, _, err := integrity.GenerateKey("annals.test/log")
	check(b.t, err)
	return integrity.NewKeys(integrity.KeysConfig{
		DB: b.store.Commands, Recorder: unrecorded{}, Secrets: integrity.Secrets{SignerKey: private}, Logger: b.logger,
	})
}

func newSealedServer(t *testing.T, change ...func(*bench)) *bench {
	t.Helper()
	return newServerOf(t, append(readModels(), sealer.New()), append([]func(*bench){sealed, unwatched}, change...)...)
}

// checkpoint gives the newest one that covers a position, verified by the key that the server names.
func (b *bench) checkpoint(position int64) (integrity.Checkpoint, string) {
	b.t.Helper()
	keys := b.send("GET", "/v1/integrity/keys", "").is(200).json()
	item := keys["items"].([]any)[0].(map[string]any)
	known, err := integrity.Verifiers(item["verifier_key"].(string))
	check(b.t, err)
	r := b.send("GET", "/v1/integrity/checkpoint", "", fmt.Sprintf("Annals-Min-Position: %d", position), "Prefer: wait=30").is(200)
	c, _, err := integrity.ParseCheckpoint(r.body, known)
	check(b.t, err)
	if c.Origin != keys["origin"] || c.Size < position || r.header.Get("Content-Type") != "text/plain; charset=utf-8" ||
		r.header.Get("Annals-Position") != fmt.Sprint(c.Size) {
		b.t.Fatalf("%+v %v", c, r.header)
	}
	return c, string(r.body)
}

func hashesOf(t *testing.T, list any) []integrity.Hash {
	t.Helper()
	text, err := json.Marshal(list)
	check(t, err)
	var hashes []integrity.Hash
	check(t, json.Unmarshal(text, &hashes))
	return hashes
}

func hashOf(t *testing.T, text any) integrity.Hash {
	t.Helper()
	h, err := tlog.ParseHash(text.(string))
	check(t, err)
	return h
}

func TestProofsOverHTTP(t *testing.T) {
	t.Parallel()
	b := newSealedServer(t)
	const events = 5
	for i := range events {
		b.product(fmt.Sprintf("P-%d", i), 1)
	}
	c, signed := b.checkpoint(events)
	proof := b.send("GET", "/v1/integrity/inclusion?position=3", "").is(200).json()
	leaf := proof["leaf"].(string)
	if proof["checkpoint"] != signed || proof["tree_size"] != float64(events) || proof["leaf_index"] != 2.0 || proof["position"] != 3.0 {
		t.Errorf("%v", proof)
	}
	check(t, integrity.VerifyInclusion(c, 3, integrity.LeafHash([]byte(leaf)), hashesOf(t, proof["hashes"])))
	parsed, err := integrity.ParseLeaf([]byte(leaf))
	check(t, err)
	for text, want := range map[string][32]byte{"data": parsed.DataHash, "metadata": parsed.MetadataHash} {
		salt, err := base64.StdEncoding.DecodeString(proof[text+"_salt"].(string))
		check(t, err)
		if integrity.Commitment(salt, []byte(proof[text].(string))) != want {
			t.Errorf("%s isn't what the leaf commits to", text)
		}
	}
	event := b.send("GET", "/v1/events/3", "").is(200).json()
	if parsed.Position != 3 || parsed.EventID.String() != event["event_id"] || !strings.Contains(proof["data"].(string), `"P-2"`) {
		t.Errorf("leaf %s of event %v", leaf, event)
	}
	earlier := b.send("GET", "/v1/integrity/inclusion?position=3&size=4", "").is(200).json()
	at4 := integrity.Checkpoint{Origin: c.Origin, Size: 4, Root: hashOf(t, earlier["root_hash"])}
	check(t, integrity.VerifyInclusion(at4, 3, hashOf(t, earlier["leaf_hash"]), hashesOf(t, earlier["hashes"])))
	consistency := b.send("GET", "/v1/integrity/consistency?from=4&to=5", "").is(200).json()
	if hashOf(t, consistency["from_root"]) != at4.Root || hashOf(t, consistency["to_root"]) != c.Root || consistency["checkpoint"] != signed {
		t.Errorf("%v", consistency)
	}
	check(t, integrity.VerifyConsistency(at4, c, hashesOf(t, consistency["hashes"])))
	same := b.send("GET", "/v1/integrity/consistency?from=5&to=5", "").is(200)
	if !strings.Contains(string(same.body), `"hashes":[]`) {
		t.Errorf("%s", same.body)
	}
	tile := b.send("GET", "/v1/integrity/tile/0/000.p/5", "").is(200)
	if len(tile.body) != 160 || string(tile.body[64:96]) != string(hashSlice(hashOf(t, proof["leaf_hash"]))) ||
		strings.Contains(tile.header.Get("Cache-Control"), "immutable") {
		t.Errorf("%d bytes, %v", len(tile.body), tile.header)
	}
}

func hashSlice(h integrity.Hash) []byte { return h[:] }

func TestFullTilesAreImmutable(t *testing.T) {
	t.Parallel()
	b := newSealedServer(t)
	_, err := b.db.Exec(`
		INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at,
			schema_version, event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id,
			data, metadata, data_salt, metadata_salt)
		SELECT n, gen_random_uuid(), gen_random_uuid(), 1, now(), now(), 1, 'cart.created', 'cart', 'acme', 'a', '', '', '',
			'{}', '{}', uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()) FROM generate_series(1, 300) n`)
	check(t, err)
	b.checkpoint(300)
	full := b.send("GET", "/v1/integrity/tile/0/000", "").is(200)
	if len(full.body) != integrity.TileBytes || !strings.Contains(full.header.Get("Cache-Control"), "immutable") {
		t.Errorf("%d bytes, %v", len(full.body), full.header)
	}
	if head := b.send("HEAD", "/v1/integrity/tile/0/000", "").is(200); head.header.Get("Content-Length") != "8192" {
		t.Errorf("%v", head.header)
	}
	part := b.send("GET", "/v1/integrity/tile/0/000.p/255", "").is(200)
	if string(part.body) != string(full.body[:255*32]) {
		t.Error("the first hashes of a full tile are others")
	}
	b.send("GET", "/v1/integrity/tile/0/001.p/44", "").is(200)
	b.send("GET", "/v1/integrity/tile/1/000.p/1", "").is(200)
	for _, path := range []string{
		"0/001.p/45", "0/001", "0/002.p/1", "1/000.p/2", "1/000", "2/000.p/1", "64/000", "-1/000", "00/000", "x/000", "0/0", "0/0000",
		"0/x000/000", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/", "0/000/", "0/000.p", "entries/000", "0/x001/x234/067",
		"0/x999/x999/x999/x999/x999/x999/999", "0/" + url.PathEscape("../000"),
	} {
		b.send("GET", "/v1/integrity/tile/"+path, "").is(404)
	}
}

func TestProofsAreOfTheCallersEvents(t *testing.T) {
	t.Parallel()
	b := newSealedServer(t)
	b.always = []string{"Annals-Client: acme"}
	b.product("A", 1)
	b.always = []string{"Annals-Client: globex"}
	b.product("B", 1)
	b.checkpoint(2)
	for client, status := range map[string][2]int{"acme": {200, 404}, "globex": {404, 200}, "*": {200, 200}, "nobody": {404, 404}} {
		for i, want := range status {
			b.send("GET", fmt.Sprintf("/v1/integrity/inclusion?position=%d", i+1), "", "Annals-Client: -", "Annals-Client: "+client).is(want)
		}
		// The tree is everybody's: it holds nothing but hashes.
		b.send("GET", "/v1/integrity/consistency?from=1&to=2", "", "Annals-Client: -", "Annals-Client: "+client).is(200)
	}
}

func TestProofsThatThereAreNot(t *testing.T) {
	t.Parallel()
	b := newSealedServer(t)
	b.product("A", 1)
	b.product("B", 1)
	b.checkpoint(2)
	for query, want := range map[string]int{
		"inclusion": 400, "inclusion?position=": 400, "inclusion?position=0": 400, "inclusion?position=x": 400,
		"inclusion?position=2&size=1": 400, "inclusion?position=1&size=0": 400, "inclusion?position=1&x=1": 400,
		"inclusion?position=3": 404, "inclusion?position=1&size=3": 404, "inclusion?position=9223372036854775807": 404,
		"consistency": 400, "consistency?from=1": 400, "consistency?to=1": 400, "consistency?from=2&to=1": 400,
		"consistency?from=0&to=1": 400, "consistency?from=-1&to=1": 400, "consistency?from=1&to=3": 404,
		"checkpoint?x=1": 400, "keys?limit=1": 400,
	} {
		b.send("GET", "/v1/integrity/"+query, "").is(want)
	}
}

// Where nobody signs, requests wait for a while and then say so.
func TestWithoutCheckpoints(t *testing.T) {
	t.Parallel()
	b := newServerOf(t, append(readModels(), sealer.New()), unwatched)
	b.product("A", 1)
	for _, path := range []string{"checkpoint", "inclusion?position=1", "consistency?from=1&to=1"} {
		r := b.send("GET", "/v1/integrity/"+path, "", "Prefer: wait=0").is(503)
		if r.header.Get("Retry-After") == "" || !strings.Contains(string(r.body), "/problems/unavailable") {
			t.Errorf("%s: %s %v", path, r.body, r.header)
		}
	}
	if list := items(b.send("GET", "/v1/integrity/keys", "").is(200)); len(list) != 0 {
		t.Errorf("keys %v", list)
	}
	// A checkpoint that doesn't cover the position yet.
	keys := b.signingKeys()
	check(t, keys.Ensure(t.Context()))
	check(t, b.group.WaitFor(t.Context(), sealer.Name, 1))
	_, err := integrity.NewSigner(keys, 0, b.logger).Sign(t.Context())
	check(t, err)
	b.send("GET", "/v1/integrity/checkpoint", "").is(200)
	b.product("B", 1)
	for _, path := range []string{"checkpoint", "inclusion?position=2", "consistency?from=1&to=2"} {
		r := b.send("GET", "/v1/integrity/"+path, "", "Prefer: wait=0", "Annals-Min-Position: 2").is(503)
		if r.header.Get("Retry-After") == "" || !strings.Contains(string(r.body), "/problems/read-model-behind") {
			t.Errorf("%s: %s %v", path, r.body, r.header)
		}
	}
}

// A proof shows the event: that somebody asked for it is on record.
func TestProofsAreOnRecord(t *testing.T) {
	t.Parallel()
	watched := func(b *bench) { b.config.Access = b.reads }
	b := newSealedServer(t, watched)
	b.product("A", 1)
	b.checkpoint(1)
	b.send("GET", "/v1/integrity/inclusion?position=1", "", "Annals-Actor: eve", "Annals-Reason: why").is(200)
	b.send("GET", "/v1/integrity/inclusion?position=1", "", "Annals-Actor: eve", "Annals-Reason: a\tb").problem(400, "malformed-request")
	got := b.traces("eve")
	if len(got) != 1 || got[0].Route != "/v1/integrity/inclusion" || got[0].Rows != 1 || *got[0].FromPosition != 1 ||
		got[0].Reason == nil || *got[0].Reason != "why" {
		t.Errorf("%v", got)
	}
}

// An event that was changed past Annals shows: its leaf isn't the one in the tree.
func TestAlteredEventDoesNotProve(t *testing.T) {
	t.Parallel()
	b := newSealedServer(t)
	b.product("A", 1)
	b.product("B", 1)
	c, _ := b.checkpoint(2)
	_, err := b.db.Exec(`ALTER TABLE annals.events DISABLE TRIGGER ALL; UPDATE annals.events SET actor_id = 'someone' WHERE position = 1;
		ALTER TABLE annals.events ENABLE TRIGGER ALL`)
	check(t, err)
	proof := b.send("GET", "/v1/integrity/inclusion?position=1", "").is(200).json()
	leaf, hashes := proof["leaf"].(string), hashesOf(t, proof["hashes"])
	check(t, integrity.VerifyInclusion(c, 1, hashOf(t, proof["leaf_hash"]), hashes))
	if err := integrity.VerifyInclusion(c, 1, integrity.LeafHash([]byte(leaf)), hashes); err == nil {
		t.Error("the altered event verifies")
	}
}
