package evidence

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// Destination takes the files of a bundle, one after the other.
type Destination interface {
	// Create begins a file, which ends the one before.
	Create(name string) (io.Writer, error)
	// Close ends the bundle.
	Close() error
}

// zipDestination writes a ZIP file.
type zipDestination struct {
	w  *zip.Writer
	at time.Time
}

// NewZip makes a bundle of one ZIP file, which is written to w as it comes. at is the time of the files in it.
func NewZip(w io.Writer, at time.Time) Destination {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	return &zipDestination{z, at.UTC()}
}

// Create implements Destination.
func (d *zipDestination) Create(name string) (io.Writer, error) {
	return d.w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: d.at})
}

// Close implements Destination.
func (d *zipDestination) Close() error { return d.w.Close() }

// dirDestination writes files.
type dirDestination struct {
	dir  string
	file *os.File
}

// NewDirectory makes a bundle of a directory, which must be new or empty.
func NewDirectory(dir string) (Destination, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a bundle: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("make a bundle: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("make a bundle: %s isn't empty", dir)
	}
	return &dirDestination{dir: dir}, nil
}

// Create implements Destination.
func (d *dirDestination) Create(name string) (io.Writer, error) {
	if err := d.end(); err != nil {
		return nil, err
	}
	file := filepath.Join(d.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	d.file = f
	return f, err
}

func (d *dirDestination) end() error {
	if d.file == nil {
		return nil
	}
	f := d.file
	d.file = nil
	return errors.Join(f.Sync(), f.Close())
}

// Close implements Destination.
func (d *dirDestination) Close() error { return d.end() }

// Open opens a bundle: a directory, or a ZIP file. Close it after use. What isn't either fails with ErrBundle.
func Open(name string) (fs.FS, io.Closer, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open a bundle: %w", err)
	}
	if info.IsDir() {
		return os.DirFS(name), io.NopCloser(nil), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open a bundle: %w", err)
	}
	bundle, err := OpenZip(f, info.Size())
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return bundle, f, nil
}

// OpenZip opens a bundle that is a ZIP file. It fails with ErrBundle: also for two files of one name, of which readers
// might take different ones.
func OpenZip(r io.ReaderAt, size int64) (fs.FS, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	seen := make(map[string]bool, len(z.File))
	for _, f := range z.File {
		if name := path.Clean(f.Name); seen[name] {
			return nil, fmt.Errorf("%w: two files are called %.80q", ErrBundle, name)
		} else {
			seen[name] = true
		}
	}
	return z, nil
}
