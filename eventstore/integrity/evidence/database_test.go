package evidence_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
)

// size is a log of two full tiles and an open one; signed is a size at which it was signed before.
const (
	size   = 600
	signed = 300
)

func TestAnUntouchedLogIsIntact(t *testing.T) {
	t.Parallel()
	b := newBench(t, signed, size)
	kept := b.note()
	r := b.verify(evidence.Options{})
	expect(t, r, evidence.Intact, 0, "")
	if r.Events != size || r.Payloads != size || r.Checkpoints != 2 || len(r.SignedBy) != 1 || r.KeyGiven || !slices.Contains(r.Remarks, evidence.InternallyOnly) {
		t.Errorf("%s", shown(r))
	}
	key := b.verifierKey()
	// Later events don't disturb it, sealed or not.
	b.grow(size + 3000)
	b.exec(fill, size+3001, size+3010)
	r = b.verify(evidence.Options{Since: []evidence.Kept{kept}, Keys: []string{key}})
	expect(t, r, evidence.Intact, 0, "")
	if r.Unsealed != 10 || len(r.Since) != 1 || !r.Since[0].Consistent || !r.KeyGiven || slices.Contains(r.Remarks, evidence.InternallyOnly) {
		t.Errorf("%s", shown(r))
	}
}

func TestAnEmptyLogIsIncomplete(t *testing.T) {
	t.Parallel()
	expect(t, newBench(t).verify(evidence.Options{}), evidence.Incomplete, 0, "no signed checkpoint is stored")
}

// Every column of the events is what somebody could want to change.
func TestEachColumnIsProtected(t *testing.T) {
	t.Parallel()
	changes := map[string]string{
		"position":          "position + 100000",
		"event_id":          "gen_random_uuid()",
		"aggregate_id":      "gen_random_uuid()",
		"aggregate_version": "aggregate_version + 100000",
		"occurred_at":       "occurred_at + interval '1 microsecond'",
		"recorded_at":       "recorded_at - interval '1 microsecond'",
		"schema_version":    "schema_version + 1",
		"leaf_version":      "leaf_version + 1",
		"event_type":        "event_type || 'x'",
		"aggregate_type":    "aggregate_type || 'x'",
		"client_id":         "'globex-' || client_id",
		"actor_id":          "'mallory'",
		"correlation_id":    "''",
		"causation_id":      "causation_id || 'x'",
		"request_id":        "request_id || ' '",
		"data":              "replace(data::text, '17', '18')::json",
		"metadata":          "replace(metadata::text, ' ', '')::json", // the same value in other bytes
		"data_salt":         "metadata_salt",
		"metadata_salt":     "uuid_send(gen_random_uuid())",
	}
	b := newBench(t, size)
	restore := b.save()
	var columns []string
	if err := b.db.Select(&columns, `SELECT column_name FROM information_schema.columns
		WHERE table_schema = 'annals' AND table_name = 'events' ORDER BY 1`); err != nil {
		t.Fatal(err)
	}
	for _, column := range columns {
		change, ok := changes[column]
		if !ok {
			t.Errorf("the column %s isn't tried: does the leaf have it?", column)
			continue
		}
		b.tamper(fmt.Sprintf(`UPDATE annals.events SET %s = %s WHERE position = 17`, column, change))
		r := b.verify(evidence.Options{})
		t.Run(column, func(t *testing.T) { expect(t, r, evidence.Altered, 17, "") })
		restore()
	}
	expect(t, b.verify(evidence.Options{}), evidence.Intact, 0, "")
}

// tampering is what somebody does to a log of size events, and what must be said of it.
type tampering struct {
	name     string
	do       []string
	verdict  evidence.Verdict
	position int64
	says     string
}

const copyOf5 = `INSERT INTO annals.events SELECT (jsonb_populate_record(e, jsonb_build_object('position', %d,
	'aggregate_version', 1, 'aggregate_id', gen_random_uuid()))).* FROM annals.events e WHERE position = 5`

func tamperings(t *testing.T) []tampering {
	t.Helper()
	_, otherKey, err := integrity.GenerateKey("test/other")
	if err != nil {
		t.Fatal(err)
	}
	events, log := `UPDATE annals.events SET `, `UPDATE annals.integrity_log SET `
	flip := func(column string, at int) string {
		return fmt.Sprintf(`%s = set_byte(%s, %d, get_byte(%s, %d) # 1)`, column, column, at, column, at)
	}
	return []tampering{
		{"delete in the middle", []string{`DELETE FROM annals.events WHERE position = 100`}, evidence.Altered, 100, "missing"},
		{"delete at the end", []string{`DELETE FROM annals.events WHERE position > 590`}, evidence.Altered, 591, "missing"},
		{"delete the first", []string{`DELETE FROM annals.events WHERE position = 1`}, evidence.Altered, 1, "missing"},
		{"delete all", []string{`DELETE FROM annals.events`}, evidence.Altered, 1, "missing"},
		{"insert before the beginning", []string{fmt.Sprintf(copyOf5, -3)}, evidence.Altered, 0, "at position -3"},
		{"insert far behind", []string{fmt.Sprintf(copyOf5, size+10)}, evidence.Altered, size + 1, "missing"},
		{"insert in the middle", []string{
			`ALTER TABLE annals.events DROP CONSTRAINT events_pkey`, events + `position = position + 1 WHERE position >= 50`,
			fmt.Sprintf(copyOf5, 50), `ALTER TABLE annals.events ADD CONSTRAINT events_pkey PRIMARY KEY (position)`,
		}, evidence.Altered, 51, "sealed at position 50"},
		{"two at one position", []string{`ALTER TABLE annals.events DROP CONSTRAINT events_pkey`, fmt.Sprintf(copyOf5, 5)},
			evidence.Altered, 5, "more than one"},
		{"swap two", []string{
			`ALTER TABLE annals.events DROP CONSTRAINT events_pkey`, events + `position = 320 - position WHERE position IN (20, 300)`,
			`ALTER TABLE annals.events ADD CONSTRAINT events_pkey PRIMARY KEY (position)`,
		}, evidence.Altered, 20, "sealed at position 300"},
		{"swap salts", []string{events + `data_salt = o.data_salt FROM annals.events o WHERE o.position = 61 - events.position AND events.position IN (30, 31)`},
			evidence.Altered, 30, "changed after it was sealed"},
		{"move bytes from the data into the salt", []string{events + `data_salt = data_salt || ' ', data = ltrim(data::text)::json WHERE position = 16`},
			evidence.Altered, 16, "salt"},
		{"change salt and data", []string{events + `data = '{"n":1}', data_salt = uuid_send(gen_random_uuid()) WHERE position = 40`},
			evidence.Altered, 40, "changed after it was sealed"},
		{"change the open part", []string{events + `actor_id = 'm' WHERE position = 599`}, evidence.Altered, 599, "changed after it was sealed"},
		{"change a leaf's hash", []string{`UPDATE annals.integrity_tiles SET ` + flip("hashes", 32*9) + ` WHERE level = 0 AND index = 1`},
			evidence.Altered, 256 + 10, "the event itself is the one that was signed"},
		{"change an event with its hash", []string{events + `actor_id = 'm' WHERE position = 7`,
			`UPDATE annals.integrity_tiles SET ` + flip("hashes", 32*6) + ` WHERE level = 0 AND index = 0`}, evidence.Altered, 7, "no signed root says"},
		{"remove a tile", []string{`DELETE FROM annals.integrity_tiles WHERE level = 0 AND index = 1`}, evidence.Incomplete, 257, "are missing"},
		{"add a tile", []string{`INSERT INTO annals.integrity_tiles (level, index, hashes) SELECT 0, 5, hashes FROM annals.integrity_tiles LIMIT 1`},
			evidence.Altered, 0, "1 tiles are stored"},
		{"change the open tile", []string{log + flip("open_leaves", 3)}, evidence.Altered, 513, "the event itself is the one that was signed"},
		{"cut the open tile", []string{log + `open_leaves = substring(open_leaves FOR 320)`}, evidence.Altered, 0, "open tiles"},
		{"change the open nodes", []string{log + flip("open_nodes", 3)}, evidence.Altered, 0, "open tiles"},
		{"change the root", []string{log + flip("root", 0)}, evidence.Altered, 0, "the root that is stored"},
		{"shrink the tree", []string{log + `size = 512, open_leaves = ''`}, evidence.Altered, 0, "a checkpoint of size 600"},
		{"rename the log", []string{log + `origin = 'other'`}, evidence.Altered, 0, "isn't what its note says"},
		{"remove the tree's row", []string{`DELETE FROM annals.integrity_log`}, evidence.Altered, 0, "row is gone"},
		{"change a note", []string{`UPDATE annals.integrity_checkpoints SET note = replace(note, E'\n600\n', E'\n601\n')`}, evidence.Altered, 0, "stored checkpoint at size 600"},
		{"change a checkpoint's root", []string{`UPDATE annals.integrity_checkpoints SET ` + flip("root", 1) + ` WHERE size = 300`}, evidence.Altered, 0, "checkpoint at size 300"},
		{"move a checkpoint", []string{`UPDATE annals.integrity_checkpoints SET size = 299 WHERE size = 300`}, evidence.Altered, 0, "checkpoint at size 299"},
		{"remove all checkpoints", []string{`DELETE FROM annals.integrity_checkpoints`}, evidence.Incomplete, 0, "no signed checkpoint is stored"},
		{"replace the key", []string{`UPDATE annals.integrity_keys SET verifier_key = '` + otherKey + `'`},
			evidence.Altered, 0, "the key was replaced"},
		{"break the key", []string{`UPDATE annals.integrity_keys SET verifier_key = 'x' || verifier_key`}, evidence.Altered, 0, "damaged"},
		{"remove the key", []string{`DELETE FROM annals.integrity_keys`}, evidence.Altered, 1, "is gone"},
		{"a stream's version twice", []string{`ALTER TABLE annals.events DROP CONSTRAINT events_stream_key`,
			events + `aggregate_version = aggregate_version - 1 WHERE position = 500`}, evidence.Altered, 0, "versions of the stream"},
	}
}

func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, signed, size)
	kept := b.note()
	restore := b.save()
	for _, c := range tamperings(t) {
		t.Run(c.name, func(t *testing.T) {
			b.tamper(c.do...)
			defer restore()
			expect(t, b.verify(evidence.Options{}), c.verdict, c.position, c.says)
			if r := b.verify(evidence.Options{Since: []evidence.Kept{kept}}); r.Verdict != c.verdict {
				t.Errorf("with what was kept: %s", shown(r))
			}
		})
	}
	expect(t, b.verify(evidence.Options{Since: []evidence.Kept{kept}}), evidence.Intact, 0, "")
}

// Only what the altered positions are is named, and not what follows from them.
func TestFindingsNameTheAlteredPositionsAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, signed, size)
	b.tamper(`UPDATE annals.events SET actor_id = 'mallory' WHERE position IN (17, 256, 257, 600)`)
	r := b.verify(evidence.Options{})
	var at []int64
	for _, f := range r.Findings {
		if f.Position == nil {
			t.Errorf("%+v", f)
			continue
		}
		at = append(at, *f.Position)
	}
	if !slices.Equal(at, []int64{17, 256, 257, 600}) || r.Found != 4 {
		t.Errorf("findings at %d: %s", at, shown(r))
	}
}

// reseal makes the tree anew from the rows as they are, and signs it with the log's own key.
func (b *bench) reseal() {
	b.t.Helper()
	b.tamper(`DELETE FROM annals.integrity_tiles`, `DELETE FROM annals.integrity_checkpoints`,
		`UPDATE annals.integrity_log SET size = 0, root = sha256(''), open_leaves = '', open_nodes = ''`)
	b.signer = integrity.NewSigner(b.keys, 0, discard)
	b.seal()
	b.sign()
}

// Whoever has the database and the key can make everything agree. What was kept elsewhere tells.
func TestARewrittenLogIsFoundByWhatWasKept(t *testing.T) {
	t.Parallel()
	for name, do := range map[string][]string{
		"edit":   {`UPDATE annals.events SET actor_id = 'mallory' WHERE position = 200`},
		"remove": {`DELETE FROM annals.events WHERE position > 550`},
		"reorder": {`ALTER TABLE annals.events DROP CONSTRAINT events_pkey`,
			`UPDATE annals.events SET position = 501 - position WHERE position IN (200, 301)`,
			`ALTER TABLE annals.events ADD CONSTRAINT events_pkey PRIMARY KEY (position)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 100, size)
			var early evidence.Kept
			if err := b.db.Get(&early.Note, `SELECT note FROM annals.integrity_checkpoints WHERE size = 100`); err != nil {
				t.Fatal(err)
			}
			kept := b.note()
			b.tamper(do...)
			b.reseal()
			r := b.verify(evidence.Options{})
			expect(t, r, evidence.Intact, 0, "")
			if !slices.Contains(r.Remarks, evidence.InternallyOnly) {
				t.Errorf("it doesn't say that this is no proof: %s", shown(r))
			}
			early.Name = "early.note"
			r = b.verify(evidence.Options{Since: []evidence.Kept{early, kept}})
			says := "the past was rewritten (after position 100"
			if name == "remove" {
				says = "were removed"
			}
			expect(t, r, evidence.Altered, 0, says)
			if len(r.Since) != 2 || !r.Since[0].Consistent || r.Since[1].Consistent {
				t.Errorf("%s", shown(r))
			}
			bundle := b.export(evidence.ExportOptions{})
			expect(t, verifyBundle(t, bundle, evidence.Options{}), evidence.Intact, 0, "")
			if r := verifyBundle(t, bundle, evidence.Options{Since: []evidence.Kept{kept}}); r.Verdict == evidence.Intact {
				t.Errorf("%s", shown(r))
			}
		})
	}
}

func TestAnotherLogIsNotTheOneThatWasKept(t *testing.T) {
	t.Parallel()
	b, other := newBench(t, 10), newBench(t, 10)
	expect(t, b.verify(evidence.Options{Since: []evidence.Kept{other.note()}}), evidence.Altered, 0, "is of the log")
	key := other.verifierKey()
	expect(t, b.verify(evidence.Options{Keys: []string{key}}), evidence.Altered, 0, "checkpoint at size 10")
	if _, err := evidence.VerifyDatabase(context.Background(), b.source, evidence.Options{Since: []evidence.Kept{{Name: "x", Note: []byte("x")}}}); err == nil {
		t.Error("a kept checkpoint that is none was taken")
	}
}

// A log whose key was made anew has lost what vouched for it, and so has one with another key of the same name.
func TestKeysThatWereReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t, size)
	kept := b.note()
	key := b.verifierKey()
	b.tamper(`DELETE FROM annals.integrity_keys`, `UPDATE annals.events SET data = '{}' WHERE position = 1`,
		`DELETE FROM annals.events WHERE position = 600`)
	b.newKey() // with an event of it at the end
	b.tamper(`UPDATE annals.events SET data = o.data FROM annals.events o WHERE events.position = 1 AND o.position = 600`)
	b.reseal()
	expect(t, b.verify(evidence.Options{Since: []evidence.Kept{kept}}), evidence.Altered, 0, "no key that counts here")
	expect(t, b.verify(evidence.Options{Keys: []string{key}}), evidence.Altered, 0, "checkpoint at size 600")
}

func TestSealingBehindWhatWasKept(t *testing.T) {
	t.Parallel()
	b := newBench(t, signed)
	restore := b.save("integrity_log", "integrity_tiles", "integrity_checkpoints")
	b.grow(size)
	kept := b.note()
	restore()
	expect(t, b.verify(evidence.Options{Since: []evidence.Kept{kept}}), evidence.Incomplete, 0, "the events themselves agree")
	b.tamper(`UPDATE annals.events SET actor_id = 'mallory' WHERE position = 450`) // not protected but by what was kept
	expect(t, b.verify(evidence.Options{}), evidence.Intact, 0, "")
	expect(t, b.verify(evidence.Options{Since: []evidence.Kept{kept}}), evidence.Altered, 0, "(after position 300, up to which a signed root agrees, and not after 600)")
}
