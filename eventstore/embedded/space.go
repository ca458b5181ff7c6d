package embedded

import "syscall"

// roomInMemory is the free shared memory, in bytes, from which on throwaway data goes there.
const roomInMemory = 2 << 30

func freeSpace(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
