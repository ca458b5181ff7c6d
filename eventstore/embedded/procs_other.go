//go:build !linux

package embedded

import (
	"os/exec"
	"strconv"
	"strings"
)

// workingIn finds the postmaster of a data directory by its command line: there
// is no /proc to ask for working directories.
func workingIn(dir string) []int {
	out, err := exec.Command("ps", "-axo", "pid=,command=").Output()
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		pid, cmd, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.Contains(cmd, "/postgres -D "+dir+" ") {
			continue
		}
		if n, err := strconv.Atoi(pid); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}
