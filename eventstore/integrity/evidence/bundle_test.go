package evidence_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"

	"annals/eventstore"
	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
)

func TestABundleOfEverything(t *testing.T) {
	t.Parallel()
	b := newBench(t, signed, size)
	kept := b.note()
	b.grow(2500)
	later := b.note()
	b.exec(fill, 2501, 2510) // not signed: not exported
	bundle := b.export(evidence.ExportOptions{})
	r := verifyBundle(t, bundle, evidence.Options{Since: []evidence.Kept{later, kept}, Keys: []string{b.verifierKey()}})
	expect(t, r, evidence.Intact, 0, "")
	if r.Events != 2500 || r.Payloads != 2500 || len(r.Since) != 2 || !r.Since[0].Consistent || !r.Since[1].Consistent || !r.KeyGiven ||
		!strings.Contains(r.Scope, "none is missing") {
		t.Errorf("%s", shown(r))
	}
	b.grow(2520)
	expect(t, verifyBundle(t, bundle, evidence.Options{Since: []evidence.Kept{b.note()}}), evidence.Incomplete, 0, "export again")
}

func TestABundleIsADirectoryOrAFile(t *testing.T) {
	t.Parallel()
	b := newBench(t, size)
	all := integrity.Selection{Client: eventstore.AllClients}
	dir := filepath.Join(t.TempDir(), "bundle")
	to, err := evidence.NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.Export(context.Background(), b.source, to, evidence.ExportOptions{Selection: all}); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.NewDirectory(dir); err == nil {
		t.Error("a directory that isn't empty was taken")
	}
	bundle, closer, err := evidence.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	for _, files := range []fs.FS{bundle, zipped(t, b.export(evidence.ExportOptions{Selection: all}))} {
		r, err := evidence.VerifyBundle(context.Background(), files, evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, r, evidence.Intact, 0, "")
	}
}

// zipped is a bundle as a ZIP file.
func zipped(t *testing.T, bundle fstest.MapFS) fs.FS {
	t.Helper()
	data := zipBytes(t, bundle)
	z, err := evidence.OpenZip(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func zipBytes(t *testing.T, bundle fstest.MapFS) []byte {
	t.Helper()
	var out bytes.Buffer
	to := evidence.NewZip(&out, time.Unix(1e9, 0))
	for _, name := range slices.Sorted(maps.Keys(bundle)) {
		w, err := to.Create(name)
		if err == nil {
			_, err = w.Write(bundle[name].Data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What is selected is proved to be in the log, whatever is between.
func TestBundlesOfSelections(t *testing.T) {
	t.Parallel()
	b := newBench(t, signed, size)
	var early evidence.Kept
	early.Name = "early.note"
	if err := b.db.Get(&early.Note, `SELECT note FROM annals.integrity_checkpoints WHERE size = 300`); err != nil {
		t.Fatal(err)
	}
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	for name, c := range map[string]struct {
		selection integrity.Selection
		events    int64
		complete  bool
	}{
		"a client":             {integrity.Selection{Client: "globex"}, 120, false},
		"a type":               {integrity.Selection{EventTypes: []string{"cart.submitted", "x"}}, 200, false},
		"an aggregate type":    {integrity.Selection{AggregateType: "signing_key"}, 1, false},
		"the stream of keys":   {integrity.Selection{AggregateID: &keyStream}, 1, false},
		"an actor":             {integrity.Selection{ActorID: `Ädä "x"`}, 599, false},
		"nobody":               {integrity.Selection{ActorID: "nobody"}, 0, false},
		"before the beginning": {integrity.Selection{Before: at(1)}, 0, false},
		"since the beginning":  {integrity.Selection{Since: at(1)}, 600, false},
		"a range":              {integrity.Selection{From: 100, To: 450}, 351, true},
		"one position":         {integrity.Selection{From: 257, To: 257}, 1, true},
		"from a position":      {integrity.Selection{From: 301}, 300, true},
		"a client in a range":  {integrity.Selection{Client: "globex", From: 6, To: 14}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := b.export(evidence.ExportOptions{Selection: c.selection, Since: []evidence.Kept{early}})
			r := verifyBundle(t, bundle, evidence.Options{Since: []evidence.Kept{early}})
			expect(t, r, evidence.Intact, 0, "")
			if r.Events != c.events || !r.Since[0].Consistent || strings.Contains(r.Scope, "none is missing") != c.complete {
				t.Errorf("%s", shown(r))
			}
		})
	}
	_, err := evidence.Export(context.Background(), b.source, &memory{files: fstest.MapFS{}},
		evidence.ExportOptions{Selection: integrity.Selection{Client: eventstore.AllClients, From: size + 1}})
	if !errors.Is(err, integrity.ErrNotSealed) {
		t.Errorf("beyond the end: %v", err)
	}
	// A bundle that wasn't made for it can't be compared with a size in the middle.
	bundle := b.export(evidence.ExportOptions{Selection: integrity.Selection{From: 400}})
	expect(t, verifyBundle(t, bundle, evidence.Options{Since: []evidence.Kept{early}}), evidence.Incomplete, 0, "export it with --since")
}

func TestNothingIsExportedThatIsNotSigned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := evidence.Export(context.Background(), b.source, &memory{files: fstest.MapFS{}},
		evidence.ExportOptions{Selection: integrity.Selection{Client: eventstore.AllClients}})
	if !errors.Is(err, integrity.ErrNoCheckpoint) {
		t.Errorf("%v", err)
	}
}

// lines gives a copy of a bundle whose lines of events f has changed.
func lines(bundle fstest.MapFS, f func([]string) []string) fstest.MapFS {
	changed := maps.Clone(bundle)
	all := strings.SplitAfter(string(bundle["events.ndjson"].Data), "\n")
	changed["events.ndjson"] = &fstest.MapFile{Data: []byte(strings.Join(f(all[:len(all)-1]), ""))}
	return changed
}

func replaced(bundle fstest.MapFS, file, old, new string) fstest.MapFS {
	changed := maps.Clone(bundle)
	text := strings.Replace(string(bundle[file].Data), old, new, 1)
	if text == string(bundle[file].Data) {
		panic("nothing to replace in " + file + ": " + old)
	}
	changed[file] = &fstest.MapFile{Data: []byte(text)}
	return changed
}

func without(bundle fstest.MapFS, file string) fstest.MapFS {
	changed := maps.Clone(bundle)
	delete(changed, file)
	return changed
}

func TestTamperingWithABundleIsFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, 40)
	whole := b.export(evidence.ExportOptions{})
	part := b.export(evidence.ExportOptions{Selection: integrity.Selection{Client: "globex"}})
	edit := func(n int, old, new string) func([]string) []string {
		return func(l []string) []string {
			text := strings.Replace(l[n], old, new, 1)
			if text == l[n] {
				panic("nothing to replace: " + old + " in " + l[n])
			}
			l[n] = text
			return l
		}
	}
	for name, c := range map[string]struct {
		bundle   fstest.MapFS
		verdict  evidence.Verdict
		position int64
		says     string
	}{
		"data":              {lines(whole, edit(13, `{"n" : 14}`, `{"n" : 15}`)), evidence.Altered, 14, "data isn't what was sealed"},
		"metadata":          {lines(whole, edit(13, `traceparent`, `traceparents`)), evidence.Altered, 14, "metadata isn't what was sealed"},
		"salt":              {lines(whole, edit(13, `"data_salt":"`, `"data_salt":"00`)), evidence.Altered, 14, "data isn't what was sealed"},
		"leaf":              {lines(whole, edit(13, `"actor_id":"\u00c4`, `"actor_id":"\u00c5`)), evidence.Altered, 0, "an event was changed"},
		"leaf's form":       {lines(whole, edit(13, `\u00c4`, `\u00C4`)), evidence.Altered, 0, "after position 13"},
		"line's form":       {lines(whole, edit(13, `"data_salt":`, ` "data_salt":`)), evidence.Altered, 0, "after position 13"},
		"another format":    {lines(whole, edit(13, `evt/1`, `evt/2`)), evidence.Incomplete, 0, "evt/2"},
		"removed":           {lines(whole, func(l []string) []string { return slices.Delete(l, 13, 14) }), evidence.Altered, 14, "were removed"},
		"removed last":      {lines(whole, func(l []string) []string { return l[:39] }), evidence.Incomplete, 40, "ends at position 39"},
		"removed all":       {lines(whole, func([]string) []string { return nil }), evidence.Incomplete, 1, "ends at position 0"},
		"twice":             {lines(whole, func(l []string) []string { return slices.Insert(l, 13, l[12]) }), evidence.Altered, 13, "comes after position 13"},
		"swapped":           {lines(whole, func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }), evidence.Altered, 4, "comes after"},
		"no payload":        {lines(whole, func(l []string) []string { l[13] = l[13][:strings.Index(l[13], `,"data_salt"`)] + "}\n"; return l }), evidence.Incomplete, 14, "absent"},
		"erased by nobody":  {lines(whole, func(l []string) []string { l[13] = erased(l[13], 20); return l }), evidence.Incomplete, 14, "isn't a receipt"},
		"erased later":      {lines(whole, func(l []string) []string { l[13] = erased(l[13], 41); return l }), evidence.Incomplete, 14, "absent"},
		"hash for events":   {lines(whole, func(l []string) []string { return append([]string{subtreeOf(t, part, 0)}, l[1:]...) }), evidence.Altered, 0, "an event was changed"},
		"a subtree":         {lines(part, edit(0, `"hash":"`, `"hash":"A`)), evidence.Altered, 0, "line 1"},
		"a subtree's hash":  {swapHashes(part), evidence.Altered, 0, "an event was changed"},
		"a subtree's place": {lines(part, edit(0, `"index":0`, `"index":1`)), evidence.Altered, 0, "comes after position 0"},
		"a huge subtree":    {lines(part, edit(0, `"level":2`, `"level":60`)), evidence.Altered, 0, "comes after position 0"},
		"a client's event removed": {lines(part, func(l []string) []string {
			return slices.DeleteFunc(l, func(s string) bool { return strings.Contains(s, `"position":"10"`) })
		}), evidence.Altered, 0, ""},
		"the filter": {replaced(part, "manifest.json", "globex", "acme"), evidence.Altered, 5, "the manifest says"},
		"the filter removed": {replaced(part, "manifest.json", `"filter": {
    "client_id": "globex"
  }`, `"filter": null`), evidence.Altered, 0, "promises every event"},
		"the count":        {replaced(part, "manifest.json", `"events": 8`, `"events": 9`), evidence.Incomplete, 0, "promises 9 events"},
		"the size":         {replaced(whole, "manifest.json", `"size": 40`, `"size": 41`), evidence.Altered, 0, "at size 41"},
		"the checkpoint":   {replaced(whole, "checkpoint.note", "\n40\n", "\n41\n"), evidence.Altered, 0, "checkpoint.note"},
		"the origin":       {replaced(whole, "checkpoint.note", "test/", "best/"), evidence.Altered, 0, "checkpoint.note"},
		"the key":          {replaced(whole, "keys.json", "+A", "+B"), evidence.Altered, 0, ""},
		"without manifest": {without(whole, "manifest.json"), evidence.Incomplete, 0, "manifest.json"},
		"without note":     {without(whole, "checkpoint.note"), evidence.Incomplete, 0, "checkpoint.note"},
		"without keys":     {without(whole, "keys.json"), evidence.Incomplete, 0, "keys.json"},
		"without events":   {without(whole, "events.ndjson"), evidence.Incomplete, 0, "events.ndjson"},
		"an endless line": {lines(whole, func(l []string) []string {
			return append(l, strings.Repeat("x", evidence.MaxLine+1))
		}), evidence.Altered, 0, "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, verifyBundle(t, c.bundle, evidence.Options{}), c.verdict, c.position, c.says)
		})
	}
}

// erased takes the data out of a line and names a receipt.
func erased(line string, receipt int64) string {
	return line[:strings.Index(line, `,"data_salt"`)] + fmt.Sprintf(`,"erased_at":%d`, receipt) + line[strings.Index(line, `,"metadata_salt"`):]
}

func subtreeOf(t *testing.T, bundle fstest.MapFS, n int) string {
	t.Helper()
	return strings.Replace(strings.SplitAfter(string(bundle["events.ndjson"].Data), "\n")[n], `"level":2`, `"level":0`, 1)
}

// swapHashes exchanges the hashes of the first two subtrees.
func swapHashes(bundle fstest.MapFS) fstest.MapFS {
	return lines(bundle, func(l []string) []string {
		i := slices.IndexFunc(l[1:], func(s string) bool { return strings.HasPrefix(s, `{"level"`) }) + 1
		hash := func(s string) string { return s[strings.Index(s, `"hash"`):] }
		a, b := hash(l[0]), hash(l[i])
		l[0], l[i] = strings.Replace(l[0], a, b, 1), strings.Replace(l[i], b, a, 1)
		return l
	})
}

func TestErasedDataNeedsAReceipt(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.exec(fill, 2, 24)
	key := uuid.New()
	text := "annals:sealed:1:" + base64.RawURLEncoding.EncodeToString(append(key[:], make([]byte, 100)...))
	receipt := fmt.Sprintf(`event_type = 'subject.erased', data = '{"key_ids":["%s"]}' WHERE position = `, key)
	b.tamper(`UPDATE annals.events SET data = '{"name":"`+text+`"}' WHERE position BETWEEN 3 AND 12`, // 5 and 10 are globex's
		`UPDATE annals.events SET `+receipt+`21`)
	b.grow(24)
	o := evidence.ExportOptions{WithoutErased: true}
	bundle := b.export(o)
	r := verifyBundle(t, bundle, evidence.Options{})
	expect(t, r, evidence.Intact, 0, "")
	if r.Erased != 8 || r.Payloads != 16 || strings.Count(string(bundle["events.ndjson"].Data), text) != 2 {
		t.Errorf("%s", shown(r))
	}
	for receipt, says := range map[string]string{"20": "isn't a receipt", "22": "isn't a receipt", "2": "absent"} {
		other := lines(bundle, func(l []string) []string {
			for i := range l {
				l[i] = strings.Replace(l[i], `"erased_at":21`, `"erased_at":`+receipt, 1)
			}
			return l
		})
		expect(t, verifyBundle(t, other, evidence.Options{}), evidence.Incomplete, 3, says)
	}
	o.Selection.To = 15 // and the receipt isn't in it
	expect(t, verifyBundle(t, b.export(o), evidence.Options{}), evidence.Incomplete, 3, "isn't in the bundle")
	expect(t, verifyBundle(t, b.export(evidence.ExportOptions{}), evidence.Options{}), evidence.Intact, 0, "")
	r = verifyBundle(t, b.export(evidence.ExportOptions{WithoutPayloads: true}), evidence.Options{})
	expect(t, r, evidence.Incomplete, 1, "only their leaves were verified")
	b.tamper(`UPDATE annals.events SET client_id = 'globex' WHERE position = 21`)
	b.reseal()
	bundle = lines(b.export(evidence.ExportOptions{}), func(l []string) []string { l[2] = erased(l[2], 21); return l })
	expect(t, verifyBundle(t, bundle, evidence.Options{}), evidence.Incomplete, 3, "for their client")
}

// No byte of a bundle can be changed so that it verifies with other events, and no part of it is enough.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4)
	bundle := b.export(evidence.ExportOptions{Selection: integrity.Selection{Client: "acme"}})
	events := string(bundle["events.ndjson"].Data)
	for name, file := range bundle {
		for i := 0; i < len(file.Data); i += stride() {
			changed := maps.Clone(bundle)
			data := slices.Clone(file.Data)
			data[i] ^= 1 << (i % 8)
			changed[name] = &fstest.MapFile{Data: data}
			r := verifyBundle(t, changed, evidence.Options{})
			if r.Verdict == evidence.Intact && (name == "events.ndjson" || name == "checkpoint.note") {
				t.Fatalf("byte %d of %s: %q became %q and nobody noticed", i, name, file.Data[i], data[i])
			}
			changed[name] = &fstest.MapFile{Data: file.Data[:i]}
			if r := verifyBundle(t, changed, evidence.Options{}); r.Verdict == evidence.Intact && strings.TrimSpace(string(file.Data[i:])) != "" {
				t.Fatalf("%s was cut after %d of %d bytes and nobody noticed", name, i, len(file.Data))
			}
		}
	}
	data := zipBytes(t, bundle)
	for i := 0; i < len(data); i += stride() {
		changed := slices.Clone(data)
		changed[i] ^= 1 << (i % 8)
		if verdict, got := verifyZip(t, changed); verdict == evidence.Intact && got != events {
			t.Fatalf("byte %d of the file was changed: it verifies with other events", i)
		}
		if verdict, _ := verifyZip(t, data[:i]); verdict == evidence.Intact {
			t.Fatalf("the file was cut after %d of %d bytes and nobody noticed", i, len(data))
		}
	}
}

// stride is how far apart the bytes are that are changed one by one. With -short, as under the race detector, which finds
// nothing in one goroutine, it is a prime, so that every bit comes in turn.
func stride() int {
	if testing.Short() {
		return 37
	}
	return 1
}

// verifyZip verifies a ZIP file and gives the events in it.
func verifyZip(t *testing.T, data []byte) (evidence.Verdict, string) {
	t.Helper()
	z, err := evidence.OpenZip(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return evidence.Incomplete, ""
	}
	r, err := evidence.VerifyBundle(context.Background(), z, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := fs.ReadFile(z, "events.ndjson")
	return r.Verdict, string(text)
}

func TestTwoFilesOfOneNameAreRefused(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range []string{"events.ndjson", "./events.ndjson"} {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, "{}\n")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.OpenZip(bytes.NewReader(out.Bytes()), int64(out.Len())); err == nil {
		t.Error("it was taken")
	}
}
