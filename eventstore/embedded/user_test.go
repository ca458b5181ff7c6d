//go:build !race

// The race detector has looked at these tests when they ran as root.

package embedded

import (
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
)

// The other tests as an ordinary user, for whom nothing is dropped and nobody
// else's directories open. Without root they all run as one anyway.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("all tests of this run are an ordinary user's")
		return
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	a, err := dropTo(u)
	if err != nil {
		t.Fatal(err)
	}
	// go test builds the binary where only root comes.
	dir := programDir(t)
	binary := filepath.Join(dir, "embedded.test")
	copyFile(t, os.Args[0], binary)
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := a.own(tmp); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.v", "-test.run",
		"^(TestDataSurvivesStopAndStart|TestServerRunsAsAnUnprivilegedUser|TestBarredDirectoryIsNamed|TestOneOwner|"+
			"TestOwnerKilled|TestServerLeftBehindIsTakenOver|TestServerKilledIsStartedAgain|TestStaleLockFile|"+
			"TestDefaultDataDir|TestThrowawayLeavesNothing)$")
	cmd.Dir = tmp
	cmd.Env = []string{"PATH=" + searchPath(), "HOME=" + tmp, "TMPDIR=" + tmp}
	cmd.SysProcAttr = a.attr()
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("as user %s: %v", a.name, err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
