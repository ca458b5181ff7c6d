package embedded

import (
	"fmt"
	"os"
	"syscall"
)

// roomInMemory is the free shared memory, in bytes, from which on throwaway data goes there.
const roomInMemory = 2 << 30

func freeSpace(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// throwawayDir makes a directory in shared memory when there is room, else
// among the temporary files.
func throwawayDir() (string, error) {
	base := os.TempDir()
	if free, err := freeSpace("/dev/shm"); err == nil && free >= roomInMemory {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "annals-")
	if err != nil {
		return "", fmt.Errorf("throwaway data directory: %w", err)
	}
	return dir, nil
}
