package replay

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// program keeps the hash of the running program. It has some fifty megabytes and stays the same while it runs: it is read
// once, not for each of a dozen read models.
var program struct {
	sync.Mutex
	hash []byte
}

// programHash covers the projector's code, which no version number need tell apart.
func programHash() ([]byte, error) {
	program.Lock()
	defer program.Unlock()
	if program.hash != nil {
		return program.hash, nil
	}
	f, err := openProgram()
	if err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	program.hash = h.Sum(nil)
	return program.hash, nil
}

// openProgram opens the program that runs. An upgrade replaces the file under its path, so that the path is the last resort,
// where there is no Linux to ask.
func openProgram() (*os.File, error) {
	f, err := os.Open("/proc/self/exe")
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}
