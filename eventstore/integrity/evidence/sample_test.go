package evidence_test

import (
	"embed"
	"testing"
	"testing/fstest"

	"annals/eventstore/integrity/evidence"
)

// The sample is a bundle of four events, and a proof of the third: golden files of the formats, which have to be read for
// ever.
//
//go:embed testdata/sample
var sample embed.FS

var (
	sampleBundle = map[string][]byte{
		"manifest.json": sampleFile("manifest.json"), "checkpoint.note": sampleFile("checkpoint.note"),
		"keys.json": sampleFile("keys.json"), "events.ndjson": sampleFile("events.ndjson"),
	}
	sampleProof = string(sampleFile("proof.json"))
	sampleKey   = string(sampleFile("log.key"))
)

func sampleFile(name string) []byte {
	data, err := sample.ReadFile("testdata/sample/" + name)
	if err != nil {
		panic(err)
	}
	return data
}

func files(contents map[string][]byte) fstest.MapFS {
	bundle := fstest.MapFS{}
	for name, data := range contents {
		bundle[name] = &fstest.MapFile{Data: data}
	}
	return bundle
}

func TestTheSampleVerifies(t *testing.T) {
	t.Parallel()
	kept := evidence.Kept{Name: "checkpoint.note", Note: sampleBundle["checkpoint.note"]}
	o := evidence.Options{Keys: []string{sampleKey}, Since: []evidence.Kept{kept}}
	r := verifyBundle(t, files(sampleBundle), o)
	expect(t, r, evidence.Intact, 0, "")
	if r.Events != 4 || r.Payloads != 4 {
		t.Errorf("%s", shown(r))
	}
	expect(t, verifyProof(t, []byte(sampleProof), o), evidence.Intact, 0, "")
}
