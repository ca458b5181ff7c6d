// Package annals_test enforces the layout of the repository: who may import whom.
package annals_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goPackage is what go list tells of a package, without its tests.
type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

// layoutRule restricts the packages at or below a path. A package is judged by the first rule that fits it.
type layoutRule struct {
	path string // "annals/projections/*" fits everything below, not the package itself
	// deps are the only packages outside the standard library in the whole dependency tree; nil: anything.
	deps []string
	// never may not be imported directly.
	never []string
	why   string
}

var layout = []layoutRule{
	{path: "annals/domain/domaintest", never: []string{"annals/eventstore", "annals/projections", "annals/transport"}},
	{path: "annals/domain/*/*", deps: []string{"annals/domain", "github.com/shopspring/decimal"},
		why: "an aggregate knows the kernel and nothing else, not even another aggregate"},
	{path: "annals/domain/commerce", deps: []string{"annals/domain", "annals/domain/commerce/", "github.com/shopspring/decimal"},
		why: "use cases are pure"},
	{path: "annals/domain/manufacturing", deps: []string{"annals/domain", "annals/domain/manufacturing/", "github.com/shopspring/decimal"},
		why: "use cases are pure"},
	{path: "annals/domain/operations", deps: []string{"annals/domain", "github.com/shopspring/decimal"}, why: "use cases are pure"},
	{path: "annals/domain/privacy", deps: []string{"annals/domain", "github.com/shopspring/decimal"}, why: "use cases are pure"},
	{path: "annals/domain/notifications", deps: []string{"annals/domain", "github.com/shopspring/decimal"}, why: "use cases are pure"},
	{path: "annals/domain", deps: []string{"github.com/shopspring/decimal"}, why: "the kernel is pure"},
	{path: "annals/eventstore/*", never: []string{"annals/domain/commerce", "annals/domain/manufacturing", "annals/projections", "annals/transport"}},
	{path: "annals/eventstore", never: []string{"annals/domain/commerce", "annals/domain/manufacturing", "annals/projections", "annals/transport", "net/http"},
		why: "the log knows no aggregate of a business"},
	{path: "annals/projections", never: []string{"annals/transport", "net/http"}},
	{path: "annals/projections/*", never: []string{"annals/transport", "net/http"}},
	{path: "annals/transport/*", never: []string{"database/sql", "github.com/jmoiron/sqlx", "github.com/lib/pq", "github.com/ThreeDotsLabs/"},
		why: "transport reaches the store through use cases and query types"},
}

func (r layoutRule) fits(path string) bool {
	ok, _ := filepath.Match(r.path, path)
	if below, all := strings.CutSuffix(r.path, "/*"); all && !ok {
		ok = strings.HasPrefix(path, below+"/") && !strings.Contains(below, "*")
	}
	return ok
}

func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") && (strings.HasSuffix(p, "/") || p != "annals/domain")
	})
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Imports,Deps,GoFiles", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if p.ImportPath == "annals" || strings.HasPrefix(p.ImportPath, "annals/") {
			packages = append(packages, p)
		}
	}
}

func TestImportTable(t *testing.T) {
	t.Parallel()
	packages := listPackages(t)
	if len(packages) < 10 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, p := range packages {
		i := slices.IndexFunc(layout, func(r layoutRule) bool { return r.fits(p.ImportPath) })
		if i < 0 {
			continue
		}
		rule := layout[i]
		for _, dep := range p.Deps {
			standard := !strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") && !strings.HasPrefix(dep, "annals")
			if rule.deps != nil && !standard && !matches(dep, rule.deps) {
				t.Errorf("%s depends on %s: %s", p.ImportPath, dep, rule.why)
			}
		}
		for _, imported := range p.Imports {
			if matches(imported, rule.never) {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule.why)
			}
		}
	}
}

func TestReadModelsDoNotImportEachOther(t *testing.T) {
	t.Parallel()
	// Packages that serve all subscribers, rather than being one.
	shared := []string{"annals/projections/replay", "annals/projections/projectionstest", "annals/projections/policies"}
	sibling := func(path string) bool {
		return strings.HasPrefix(path, "annals/projections/") && !matches(path, shared)
	}
	for _, p := range listPackages(t) {
		for _, imported := range p.Imports {
			if sibling(p.ImportPath) && sibling(imported) && !strings.HasPrefix(imported, p.ImportPath) && !strings.HasPrefix(p.ImportPath, imported) {
				t.Errorf("read model %s imports its sibling %s", p.ImportPath, imported)
			}
		}
	}
}

func TestNobodyImportsCommands(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "annals/cmd/") && !strings.HasPrefix(p.ImportPath, "annals/cmd/") {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
}

func TestDomainReadsNoClockAndNoRandomSource(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		if !strings.HasPrefix(p.ImportPath, "annals/domain") || strings.HasSuffix(p.ImportPath, "/domaintest") {
			continue
		}
		for _, banned := range []string{"math/rand", "math/rand/v2", "crypto/rand", "os", "net"} {
			if slices.Contains(p.Imports, banned) {
				t.Errorf("%s imports %s", p.ImportPath, banned)
			}
		}
		for _, name := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range []string{"time.Now(", "time.Since(", "time.Until("} {
				if bytes.Contains(source, []byte(call)) {
					t.Errorf("%s/%s calls %s…): time arrives with the command", p.ImportPath, name, call)
				}
			}
		}
	}
}
