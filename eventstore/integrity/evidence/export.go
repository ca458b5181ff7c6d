package evidence

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"annals/domain"
	"annals/eventstore/integrity"
)

// Source is the log that is exported or verified.
type Source struct {
	Log     *integrity.Log
	Records *integrity.Records
	Keys    domain.ID // the stream of the events about the log's keys
}

// ExportOptions say what a bundle holds.
type ExportOptions struct {
	Selection integrity.Selection // of positions up to the latest signed checkpoint
	Since     []Kept              // checkpoints that the bundle shall be comparable with
	// WithoutPayloads leaves out data and metadata, and their salts: the bundle then shows who did what when to which
	// aggregate, and nothing of what it says.
	WithoutPayloads bool
	// WithoutErased leaves out the data of events whose personal texts are all erased, and names the receipt instead.
	WithoutErased bool
	CreatedAt     time.Time
	CreatedBy     string
	Progress      func(position, to int64) // called now and then; nil: nobody wants to know
}

// Export writes a bundle of the log up to its latest signed checkpoint, in memory that doesn't grow with the log, and gives
// its manifest. It fails with integrity.ErrNoCheckpoint before anything is signed, and with integrity.ErrNotSealed when none
// of the selected positions is.
func Export(ctx context.Context, source Source, to Destination, o ExportOptions) (Manifest, error) {
	e := &exporter{source: source, to: to, options: o}
	if err := e.prepare(ctx); err != nil {
		return Manifest{}, fmt.Errorf("export a bundle: %w", err)
	}
	if err := e.write(ctx); err != nil {
		return Manifest{}, fmt.Errorf("export a bundle: %w", err)
	}
	return e.manifest, nil
}

type exporter struct {
	source     Source
	to         Destination
	options    ExportOptions
	checkpoint integrity.SignedCheckpoint
	keys       []KeyRecord
	notes      []integrity.SignedCheckpoint
	cuts       []int64 // sizes at which no subtree may go on, ascending
	hashes     tlog.HashReader
	receipts   receipts // of what is left out
	manifest   Manifest

	out     *bufio.Writer
	at      int64 // leaves written, as events or in subtrees
	pending []item
	held    int // bytes in pending
	line    []byte
}

// item is what is written next: an event, or a subtree whose hash has yet to be read.
type item struct {
	entry *entry
	node  node
}

func (e *exporter) prepare(ctx context.Context) (err error) {
	log := e.source.Log
	if e.checkpoint, err = log.Latest(ctx); err != nil {
		return err
	}
	size := e.checkpoint.Size
	origin, err := log.Origin(ctx)
	if err != nil {
		return err
	}
	if e.keys, err = recordedKeys(ctx, e.source.Records, e.source.Keys); err != nil {
		return err
	}
	if e.notes, err = log.KeptCheckpoints(ctx, size); err != nil {
		return err
	}
	for _, n := range e.notes {
		e.cuts = append(e.cuts, n.Size)
	}
	for _, k := range e.options.Since {
		c, err := unsigned(k.Note)
		if err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
		if c.Origin != origin {
			return fmt.Errorf("%s: %w: it is of the log %s, and this is %s", k.Name, integrity.ErrCheckpoint, c.Origin, origin)
		}
		if c.Size > size {
			return fmt.Errorf("%s: it is of size %d, and the log is signed up to %d", k.Name, c.Size, size)
		}
		e.cuts = append(e.cuts, c.Size)
	}
	slices.Sort(e.cuts)
	if e.options.WithoutErased {
		if e.receipts, err = readReceipts(ctx, e.source.Records, size); err != nil {
			return err
		}
	}
	view, err := log.View(ctx)
	if err != nil {
		return err
	}
	e.hashes = view.Hashes(ctx)
	s := &e.options.Selection
	s.From = max(s.From, 1)
	if s.To == 0 || s.To > size {
		s.To = size
	}
	if s.From > s.To {
		return fmt.Errorf("%w: no position from %d to %d is signed yet: the log is signed up to %d", integrity.ErrNotSealed, s.From, s.To, size)
	}
	e.manifest = Manifest{
		Format: Format, Origin: origin, Size: size, From: s.From, To: s.To, Filter: filterOf(*s),
		Payloads: !e.options.WithoutPayloads, CreatedAt: e.options.CreatedAt.UTC(), CreatedBy: e.options.CreatedBy,
	}
	e.manifest.Scope = e.manifest.scope()
	return nil
}

func (e *exporter) write(ctx context.Context) error {
	if err := e.file(checkpointFile, []byte(e.checkpoint.Note)); err != nil {
		return err
	}
	for _, n := range e.notes {
		if err := e.file(path.Join(notesDir, strconv.FormatInt(n.Size, 10)+".note"), []byte(n.Note)); err != nil {
			return err
		}
	}
	if err := e.json(keysFile, append([]KeyRecord{}, e.keys...)); err != nil {
		return err
	}
	if err := e.events(ctx); err != nil {
		return err
	}
	return e.json(manifestFile, e.manifest) // last: a bundle with a manifest was finished
}

func (e *exporter) file(name string, data []byte) error {
	w, err := e.to.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func (e *exporter) json(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return e.file(name, append(data, '\n'))
}

// What waits for the hashes of subtrees is bounded in number and bytes.
const (
	maxPending = 2000
	maxHeld    = 4 << 20
)

func (e *exporter) events(ctx context.Context) error {
	w, err := e.to.Create(eventsFile)
	if err != nil {
		return err
	}
	e.out = bufio.NewWriterSize(w, 1<<16)
	if err := e.source.Records.Each(ctx, e.options.Selection, e.event); err != nil {
		return err
	}
	e.gap(e.manifest.Size)
	if err := e.flush(); err != nil {
		return err
	}
	return e.out.Flush()
}

// event takes the next selected event.
func (e *exporter) event(r integrity.Record) error {
	if r.Position <= e.at || r.Position > e.manifest.Size {
		return fmt.Errorf("%w: position %d came after %d", integrity.ErrDamaged, r.Position, e.at)
	}
	leaf, err := r.Leaf()
	if err != nil {
		return err
	}
	line, err := leaf.Bytes()
	if err != nil {
		return err
	}
	next := &entry{leaf: line}
	if !e.options.WithoutPayloads {
		next.metadata = payload{r.MetadataSalt, r.Metadata}
		if next.erasedAt = e.receipts.of(&r); next.erasedAt == 0 {
			next.data = payload{r.DataSalt, r.Data}
		}
	}
	e.gap(r.Position - 1)
	e.pending = append(e.pending, item{entry: next})
	e.held += len(line) + len(next.data.stored) + len(next.metadata.stored)
	e.at = r.Position
	e.manifest.Events++
	if len(e.pending) < maxPending && e.held < maxHeld {
		return nil
	}
	if e.options.Progress != nil {
		e.options.Progress(r.Position, e.manifest.To)
	}
	return e.flush()
}

// gap fills up to a number of leaves with subtrees, none of which crosses a cut.
func (e *exporter) gap(end int64) {
	var nodes []node
	for _, cut := range append(slices.Clone(e.cuts), end) {
		if cut = min(cut, end); cut > e.at {
			nodes = cover(nodes, e.at, cut)
			e.at = cut
		}
	}
	for _, n := range nodes {
		e.pending = append(e.pending, item{node: n})
	}
}

// flush writes what is pending. The hashes of all its subtrees are read at once.
func (e *exporter) flush() error {
	var indexes []int64
	for _, it := range e.pending {
		if it.entry == nil {
			indexes = append(indexes, tlog.StoredHashIndex(it.node.level, it.node.index))
		}
	}
	var hashes []tlog.Hash
	if len(indexes) > 0 {
		var err error
		if hashes, err = e.hashes.ReadHashes(indexes); err != nil {
			return fmt.Errorf("read hashes of the tree: %w", err)
		}
	}
	for _, it := range e.pending {
		if it.entry != nil {
			e.line = appendEntry(e.line[:0], it.entry)
		} else {
			e.line = appendSubtree(e.line[:0], subtree{it.node, hashes[0]})
			hashes = hashes[1:]
		}
		if _, err := e.out.Write(e.line); err != nil {
			return err
		}
	}
	e.pending, e.held = e.pending[:0], 0
	return nil
}
