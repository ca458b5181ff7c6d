package evidence

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"annals/eventstore/integrity"
)

// Options say what is verified against.
type Options struct {
	Keys     []string                 // verifier keys that count; none: those that come with what is verified
	Since    []Kept                   // checkpoints that the verifier kept
	Progress func(position, to int64) // called now and then; nil: nobody wants to know
}

// VerifyBundle verifies a bundle, in memory that doesn't grow with it. What is wrong with the bundle is in the report. An
// error is about the options or ctx.
func VerifyBundle(ctx context.Context, bundle fs.FS, o Options) (*Report, error) {
	v := &bundleVerifier{report: newReport("bundle"), options: o, bundle: bundle, awaited: map[int64]*absence{}}
	if err := v.run(ctx); err != nil {
		return nil, fmt.Errorf("verify a bundle: %w", err)
	}
	return v.report.finish(), nil
}

type bundleVerifier struct {
	report   *Report
	options  Options
	bundle   fs.FS
	manifest Manifest
	select_  integrity.Selection
	trust    *trust
	tree     frontier
	broken   bool // the lines don't make up a tree any more
	marks    []*kept
	events   int64
	previous int64 // position of the event before
	gaps     int64 // positions of the range that are there as a hash alone
	firstGap int64
	bare     absence            // events whose payload is absent without a reason
	awaited  map[int64]*absence // by the position of the receipt
	lines    int64
}

// absence is events whose data is absent.
type absence struct {
	first, count int64
	client       string
	several      bool // of several clients
}

func (a *absence) add(l *integrity.Leaf) {
	if a.count++; a.count == 1 {
		a.first, a.client = l.Position, l.ClientID
	}
	a.several = a.several || a.client != l.ClientID
}

func (v *bundleVerifier) run(ctx context.Context) error {
	checkpoint, ok, err := v.open()
	if err != nil || !ok {
		return err
	}
	v.report.tree(checkpoint.Origin, checkpoint.Size, checkpoint.Root)
	if err := v.readEvents(ctx); err != nil {
		return err
	}
	v.conclude(checkpoint)
	return nil
}

// bad notes what keeps a file from being read; absent files and cut ones make a bundle incomplete.
func (v *bundleVerifier) bad(name string, err error) {
	if errors.Is(err, errAbsent) || errors.Is(err, io.ErrUnexpectedEOF) {
		v.report.incomplete(0, "%s: %v", name, err)
		return
	}
	v.report.altered(0, "%s: %v", name, err)
}

// open reads all files but the events. Without them (ok is false) nothing can be verified.
func (v *bundleVerifier) open() (c integrity.Checkpoint, ok bool, err error) {
	data, err := readFile(v.bundle, manifestFile, maxFile)
	if err == nil {
		err = parseStrict(data, &v.manifest)
	}
	if err == nil {
		err = v.manifest.check()
	}
	if err != nil {
		v.bad(manifestFile, err)
		return c, false, nil
	}
	v.select_ = v.manifest.selection()
	v.report.Scope = v.manifest.scope()
	var keys []KeyRecord
	if data, err = readFile(v.bundle, keysFile, maxFile); err == nil {
		err = parseStrict(data, &keys)
	}
	if err != nil {
		v.bad(keysFile, err)
		return c, false, nil
	}
	note, err := readFile(v.bundle, checkpointFile, maxNote)
	if err != nil {
		v.bad(checkpointFile, err)
		return c, false, nil
	}
	if c, err = unsigned(note); err != nil {
		v.bad(checkpointFile, err)
		return c, false, nil
	}
	if v.trust, err = newTrust(v.report, c.Origin, keys, v.options.Keys); err != nil {
		return c, false, err
	}
	v.report.KeyGiven = v.trust.given
	_, by, signedErr := v.trust.open(note)
	if signedErr != nil {
		v.report.altered(0, "%s: %v", checkpointFile, signedErr)
	} else {
		v.report.SignedBy = by.ids
		v.report.Checkpoints++
	}
	if c.Size != v.manifest.Size || c.Origin != v.manifest.Origin {
		v.report.altered(0, "the manifest is of %s at size %d, and the checkpoint of %s at %d",
			v.manifest.Origin, v.manifest.Size, c.Origin, c.Size)
	}
	if v.marks, err = readKept(v.report, v.trust, c.Origin, v.options.Since); err != nil {
		return c, false, err
	}
	v.openNotes(c)
	if signedErr == nil {
		v.trust.newest(v.report, c.Size, by, v.marks)
	}
	return c, true, nil
}

// openNotes reads the earlier checkpoints of the bundle.
func (v *bundleVerifier) openNotes(c integrity.Checkpoint) {
	entries, err := fs.ReadDir(v.bundle, notesDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.report.altered(0, "%s: %v", notesDir, err)
	}
	for _, e := range entries {
		name := path.Join(notesDir, e.Name())
		data, err := readFile(v.bundle, name, maxNote)
		if err != nil {
			v.bad(name, err)
			continue
		}
		earlier, by, err := v.trust.open(data)
		switch {
		case err != nil && v.trust.given:
			v.report.remark("%s isn't signed by a key that counts here", name)
			continue
		case err != nil:
			v.report.altered(0, "%s: %v", name, err)
			continue
		case earlier.Origin != c.Origin || e.Name() != strconv.FormatInt(earlier.Size, 10)+".note":
			v.report.altered(0, "%s is a checkpoint of %s at size %d", name, earlier.Origin, earlier.Size)
			continue
		}
		v.report.Checkpoints++
		v.marks = append(v.marks, &kept{checkpoint: earlier, rank: by.rank})
	}
	slices.SortStableFunc(v.marks, func(a, b *kept) int { return int(min(max(a.checkpoint.Size-b.checkpoint.Size, -1), 1)) })
}

// batch is lines in the order of the file.
type batch struct {
	first int64 // number of the first line
	lines [][]byte
	cut   bool  // the last line lacks its end
	long  bool  // a further line is longer than any may be
	err   error // that ended the reading
}

// maxBatch bounds the bytes of a batch that one more line is added to.
const maxBatch = 1 << 18

func (v *bundleVerifier) readEvents(ctx context.Context) error {
	v.passMarks() // of the empty tree
	f, err := v.bundle.Open(eventsFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errAbsent
		}
		v.bad(eventsFile, err)
		v.broken = true
		return nil
	}
	defer f.Close()
	return ordered(ctx, func(yield func(batch) bool) error {
		readLines(bufio.NewReaderSize(f, 1<<16), yield)
		return nil
	}, func(_ context.Context, b batch) (parsedBatch, error) { return parseBatch(b), nil }, func(b parsedBatch) error {
		for _, l := range b.lines {
			v.line(l)
		}
		v.ended(b)
		if v.options.Progress != nil {
			v.options.Progress(min(v.tree.size, v.manifest.Size), v.manifest.Size)
		}
		return nil
	})
}

// readLines yields the lines of a file in batches, until it ends, a line is too long, or reading fails.
func readLines(r *bufio.Reader, yield func(batch) bool) {
	b := batch{first: 1}
	bytes := 0
	for {
		line, err := readLine(r)
		if err == nil {
			b.lines = append(b.lines, line)
			if bytes += len(line); bytes < maxBatch {
				continue
			}
			if !yield(b) {
				return
			}
			b, bytes = batch{first: b.first + int64(len(b.lines))}, 0
			continue
		}
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			b.long = true
		case errors.Is(err, io.EOF):
			b.cut = len(line) > 0
		default:
			b.err = err
		}
		yield(b)
		return
	}
}

// readLine reads a line with its end. It fails with bufio.ErrTooLong for one over MaxLine.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > MaxLine {
			return nil, bufio.ErrTooLong
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// parsedLine is a line with all that can be computed of it alone.
type parsedLine struct {
	number  int64
	subtree *subtree
	entry   *entry
	leaf    integrity.Leaf
	hash    integrity.Hash
	err     error
	wrong   []string // payloads that aren't what the leaf commits to
}

type parsedBatch struct {
	batch
	lines []parsedLine
}

func parseBatch(b batch) parsedBatch {
	p := parsedBatch{batch: b, lines: make([]parsedLine, len(b.lines))}
	p.batch.lines = nil
	for i, line := range b.lines {
		l := &p.lines[i]
		l.number = b.first + int64(i)
		if l.entry, l.subtree, l.err = parseLine(line); l.entry == nil {
			continue
		}
		if l.leaf, l.err = integrity.ParseLeaf(l.entry.leaf); l.err != nil {
			continue
		}
		l.hash = integrity.LeafHash(l.entry.leaf)
		if l.entry.data.present() && !l.entry.data.fits(l.leaf.DataHash) {
			l.wrong = append(l.wrong, "data")
		}
		if l.entry.metadata.present() && !l.entry.metadata.fits(l.leaf.MetadataHash) {
			l.wrong = append(l.wrong, "metadata")
		}
	}
	return p
}
