package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scripts/install-postgres with the package managers of several systems, which
// here only write down what they are asked for.
func TestInstallPostgres(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("../../../../scripts/install-postgres")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		managers  string
		installed bool // before
		works     bool // the installation
		want      string
		wantErr   bool
	}{
		{name: "installed", managers: "apt-get", installed: true},
		{name: "Debian", managers: "apt-get", works: true, want: "apt-get update\napt-get install -y --no-install-recommends postgresql\n"},
		{name: "Fedora", managers: "dnf", works: true, want: "dnf install -y postgresql-server\n"},
		{name: "Alpine", managers: "apk", works: true, want: "apk add postgresql\n"},
		{name: "macOS", managers: "brew", works: true, want: "brew install postgresql@17\n"},
		{name: "Debian with Homebrew", managers: "apt-get brew", works: true, want: "apt-get update\napt-get install -y --no-install-recommends postgresql\n"},
		{name: "no package", managers: "dnf", want: "dnf install -y postgresql-server\n", wantErr: true},
		{name: "unknown system", wantErr: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			asked, found := filepath.Join(dir, "asked"), filepath.Join(dir, "found")
			program := func(name, script string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
				return path
			}
			for _, name := range []string{"env", "id"} {
				real, err := exec.LookPath(name)
				if err != nil {
					t.Fatal(err)
				}
				program(name, `exec `+real+` "$@"`)
			}
			program("sudo", `exec "$@"`)
			for _, name := range strings.Fields(c.managers) {
				ending := "exit 1"
				if c.works {
					ending = ": >" + found
				}
				program(name, `echo "`+name+` $*" >>`+asked+"\n"+ending)
			}
			if c.installed {
				program("found", "")
			}
			cmd := exec.Command("/bin/sh", script, program("withpostgres", `test -e `+found+` || { echo 'install it so' >&2; exit 1; }`))
			cmd.Env = []string{"PATH=" + dir}
			out, err := cmd.CombinedOutput()
			if (err != nil) != c.wantErr || c.wantErr != strings.Contains(string(out), "install it so") {
				t.Errorf("%v\n%s", err, out)
			}
			got, _ := os.ReadFile(asked)
			if string(got) != c.want {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
		})
	}
}
