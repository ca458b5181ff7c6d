//go:build !race

package replay

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const childHashes = "ANNALS_REPLAY_CHILD_HASHES"

// TestMain lets the test binary also be the program that is replaced.
func TestMain(m *testing.M) {
	if os.Getenv(childHashes) != "" {
		fmt.Println("running")
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			hash, err := programHash()
			fmt.Printf("%x %v\n", hash, err)
		}
		return
	}
	os.Exit(m.Run())
}

// An upgrade replaces the program's file while the old program runs: what that one folds must not pass for the new one's.
func TestTheHashIsOfTheProgramThatRuns(t *testing.T) {
	t.Parallel()
	original, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x <nil>\n", sha256.Sum256(original))
	for name, replace := range map[string]func(path string) error{
		"replaced": func(path string) error {
			newer := path + ".new"
			if err := os.WriteFile(newer, append([]byte("newer"), original...), 0o700); err != nil {
				return err
			}
			return os.Rename(newer, path)
		},
		"moved, and another in its place": func(path string) error {
			if err := os.Rename(path, path+".old"); err != nil {
				return err
			}
			return os.WriteFile(path, []byte("newer"), 0o700)
		},
		"removed": func(path string) error { return os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "program")
			// Not written by this process: one that another test starts meanwhile would hold it open, and it couldn't be run.
			if out, err := exec.Command("cp", os.Args[0], path).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			cmd := exec.Command(path)
			cmd.Env = append(os.Environ(), childHashes+"=1")
			cmd.Stderr = os.Stderr
			in, inErr := cmd.StdinPipe()
			out, outErr := cmd.StdoutPipe()
			if inErr != nil || outErr != nil {
				t.Fatal(inErr, outErr)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				in.Close()
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
			}()
			lines := bufio.NewReader(out)
			if line, err := lines.ReadString('\n'); err != nil || line != "running\n" {
				t.Fatalf("the program said %q: %v", line, err)
			}
			if err := replace(path); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(in)
			if got, err := lines.ReadString('\n'); err != nil || got != want {
				t.Errorf("the program's hash is %q (%v), want %q", got, err, want)
			}
		})
	}
}
