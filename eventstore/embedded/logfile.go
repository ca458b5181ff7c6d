package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// maxLogSize bounds the server's log, in bytes; a second file of that size holds what came before.
const maxLogSize = 16 << 20

// logFile is the server's log. The server writes into the file itself, not
// through a pipe, so that its log outlives us; O_APPEND makes truncating it safe.
type logFile struct {
	file *os.File
	max  int64
}

func openLog(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the server's log: %w", err)
	}
	return &logFile{file: f, max: maxLogSize}, nil
}

// rotate moves a log over the bound to the second file. Lines written between
// the copy and the truncation are lost.
func (l *logFile) rotate() error {
	fi, err := l.file.Stat()
	if err != nil || fi.Size() <= l.max {
		return err
	}
	old, err := os.OpenFile(l.file.Name()+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("rotating the server's log: %w", err)
	}
	start := max(0, fi.Size()-l.max)
	_, err = io.Copy(old, io.NewSectionReader(l.file, start, fi.Size()-start))
	if err = errors.Join(err, old.Close()); err != nil {
		return fmt.Errorf("rotating the server's log: %w", err)
	}
	return l.file.Truncate(0)
}

// size is the log's length now: where the next server's lines begin.
func (l *logFile) size() int64 {
	fi, err := l.file.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

// tail is the end of what was logged from offset on, for error messages.
func (l *logFile) tail(offset int64) string {
	const most = 2000
	size := l.size()
	if offset > size {
		offset = 0
	}
	offset = max(offset, size-most)
	text, _ := io.ReadAll(io.NewSectionReader(l.file, offset, size-offset))
	return strings.TrimSpace(string(text))
}
