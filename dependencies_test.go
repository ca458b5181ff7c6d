package annals_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/licensecheck"
	"golang.org/x/mod/semver"
)

// module is a dependency as go list tells of it.
type module struct {
	Path, Version, Dir string
	Main               bool
}

// permitted are the licences under which a dependency may be linked into the program: all let us ship it in binary form
// under other terms.
var permitted = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC"}

// floors are the lowest versions that are free of a known flaw which concerns us.
var floors = map[string]string{
	"golang.org/x/mod": "v0.42.0", // CVE-2026-56865, in the Merkle log's library
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([.-].*)?$`)

// linkedModules lists the modules of which the program holds a package.
func linkedModules(t *testing.T) []module {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=Module", "./cmd/annals")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var linked []module
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return linked
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if p.Module != nil && !p.Module.Main && !slices.Contains(linked, *p.Module) {
			linked = append(linked, *p.Module)
		}
	}
}

func TestLicences(t *testing.T) {
	t.Parallel()
	linked := linkedModules(t)
	if len(linked) < 10 {
		t.Fatalf("only %d modules were found", len(linked))
	}
	for _, m := range linked {
		entries, err := os.ReadDir(m.Dir)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, e := range entries {
			if e.IsDir() || !licenceFile.MatchString(e.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range licensecheck.Scan(text).Match {
				found = append(found, match.ID)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s %s has no licence that we recognise", m.Path, m.Version)
		}
		for _, id := range found {
			if !slices.Contains(permitted, id) {
				t.Errorf("%s %s is under %s, which isn't among %v", m.Path, m.Version, id, permitted)
			}
		}
	}
}

func TestKnownFlawsAreOut(t *testing.T) {
	t.Parallel()
	for _, m := range linkedModules(t) {
		if floor, ok := floors[m.Path]; ok && semver.Compare(m.Version, floor) < 0 {
			t.Errorf("%s is at %s: it needs %s or newer", m.Path, m.Version, floor)
		}
	}
}
