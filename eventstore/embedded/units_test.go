package embedded

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestLogStaysBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "postgres.log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.file.Close()
	l.max = 100
	write := func(s string) {
		if _, err := l.file.WriteString(s); err != nil {
			t.Fatal(err)
		}
		if err := l.rotate(); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Repeat("a", 100))
	if got, _ := os.ReadFile(path); len(got) != 100 {
		t.Fatalf("%d bytes: rotated within the bound", len(got))
	}
	write(strings.Repeat("b", 50))
	write("after")
	got, _ := os.ReadFile(path)
	old, _ := os.ReadFile(path + ".1")
	want := strings.Repeat("a", 50) + strings.Repeat("b", 50)
	if string(got) != "after" || string(old) != want {
		t.Errorf("log %q, before that %q; want the last 100 bytes", got, old)
	}
	if tail := l.tail(1000); !bytes.Contains([]byte(tail), []byte("after")) {
		t.Errorf("tail after a rotation %q", tail)
	}
}

func TestDefaultDataDir(t *testing.T) {
	for _, c := range []struct{ name, xdg, home, want string }{
		{"XDG", "/x/data", "/h", "/x/data/annals"},
		{"a relative XDG path is ignored", "x", "/h", "/h/.local/share/annals"},
		{"home", "", "/h", "/h/.local/share/annals"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", c.xdg)
			t.Setenv("HOME", c.home)
			want := c.want
			if os.Geteuid() == 0 {
				want = "/var/lib/annals"
			}
			if got, err := DefaultDataDir(); err != nil || got != want {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		})
	}
}

// fakeInstallation is a directory whose postgres only knows its version.
func fakeInstallation(t *testing.T, dir, version string) string {
	t.Helper()
	bin := filepath.Join(dir, "postgresql-"+version, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + " (Debian)'\n"
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

func TestFindBinaries(t *testing.T) {
	dir := t.TempDir()
	v13, v15, v17 := fakeInstallation(t, dir, "13.9"), fakeInstallation(t, dir, "15.14"), fakeInstallation(t, dir, "17rc1")
	globs := []string{filepath.Join(dir, "postgresql-*", "bin")}
	t.Setenv("PATH", t.TempDir()) // keeps the machine's own out
	var major *MajorVersionError
	for _, c := range []struct {
		name      string
		globs     []string
		binDir    string
		dataMajor int
		want      string
		wantErr   func(error) bool
	}{
		{"the newest", globs, "", 0, v17, nil},
		{"the data's own", globs, "", 15, v15, nil},
		{"the one named", globs, v15, 0, v15, nil},
		{"the data's own is missing", globs, "", 16, "", func(err error) bool {
			return errors.As(err, &major) && len(major.Installed) == 3 && major.Installed[0] == 17
		}},
		{"the one named isn't the data's", globs, v17, 15, "", func(err error) bool { return errors.As(err, &major) }},
		{"too old", []string{v13}, "", 0, "", func(err error) bool { return errors.Is(err, ErrNotInstalled) }},
		{"none", nil, "", 0, "", func(err error) bool {
			return errors.Is(err, ErrNotInstalled) && strings.Contains(err.Error(), "apt-get install postgresql")
		}},
		{"not a server's directory", nil, dir, 0, "", func(err error) bool { return strings.Contains(err.Error(), dir) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := findBinaries(t.Context(), c.globs, c.binDir, "/data", c.dataMajor)
			if b.dir != c.want || (err == nil) != (c.wantErr == nil) || c.wantErr != nil && !c.wantErr(err) {
				t.Errorf("%q, %v; want %q", b.dir, err, c.want)
			}
		})
	}
	if b, err := findBinaries(t.Context(), nil, v15, "", 0); err != nil || b.major != 15 {
		t.Errorf("version %d, %v", b.major, err)
	}
	t.Setenv("PATH", v15+":/bin:/usr/bin")
	if b, err := findBinaries(t.Context(), nil, "", "", 15); err != nil || b.dir != v15 {
		t.Errorf("on the PATH: %q, %v; want %q", b.dir, err, v15)
	}
}
