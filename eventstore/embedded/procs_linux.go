package embedded

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// workingIn lists the PostgreSQL processes whose working directory is dir: the
// postmaster and all its children change to their data directory.
func workingIn(dir string) []int {
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd")
	var pids []int
	for _, link := range cwds {
		// A zombie has no working directory.
		if cwd, err := os.Readlink(link); err != nil || cwd != dir {
			continue
		}
		proc := filepath.Dir(link)
		comm, err := os.ReadFile(proc + "/comm")
		if name := strings.TrimSpace(string(comm)); err != nil || name != "postgres" && name != "postmaster" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(proc)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
