package evidence

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"annals/eventstore/integrity"
)

// line takes the next line.
func (v *bundleVerifier) line(l parsedLine) {
	v.lines = l.number
	switch {
	case errors.Is(l.err, integrity.ErrLeafVersion):
		v.report.incomplete(0, "line %d: %v", l.number, l.err)
		v.broken = true
	case l.err != nil:
		v.report.altered(0, "line %d, after position %d: %v", l.number, v.tree.size, l.err)
		v.broken = true
	case l.subtree != nil:
		v.subtree(l)
	default:
		v.event(l)
	}
}

func (v *bundleVerifier) subtree(l parsedLine) {
	n := l.subtree.node
	if v.broken {
		return
	}
	if n.begin() != v.tree.size || n.end() > v.manifest.Size || v.tree.add(n.level, l.subtree.hash) != nil {
		v.report.altered(0, "line %d: a subtree of positions %d to %d comes after position %d",
			l.number, n.begin()+1, n.end(), v.tree.size)
		v.broken = true
		return
	}
	if begin, end := max(n.begin()+1, v.manifest.From), min(n.end(), v.manifest.To); begin <= end {
		if v.gaps += end - begin + 1; v.firstGap == 0 {
			v.firstGap = begin
		}
	}
	v.passMarks()
}

func (v *bundleVerifier) event(l parsedLine) {
	position := l.leaf.Position
	v.events++
	for _, name := range l.wrong {
		v.report.altered(position, "%s isn't what was sealed: the leaf of %s %s has another hash of it", name, l.leaf.EventType, l.leaf.EventID)
	}
	v.payloads(l)
	if !v.select_.Matches(&l.leaf) {
		v.report.altered(position, "the event isn't one of those that the manifest says were selected")
	}
	sealed := max(v.tree.size, v.previous)
	v.previous = max(v.previous, position)
	switch {
	case position <= sealed:
		v.report.altered(position, "line %d: the event comes after position %d", l.number, sealed)
		v.broken = true
	case v.broken:
		return
	case position > sealed+1:
		// A file that was cut ends somewhere. One that goes on was never written with a hole.
		v.report.altered(sealed+1, "positions %d to %d were removed: neither their events nor their hashes are there", sealed+1, position-1)
		v.broken = true
	default:
		v.tree.leaf(l.hash)
		v.passMarks()
	}
}

// payloads judges what is absent, and receipts for it.
func (v *bundleVerifier) payloads(l parsedLine) {
	e := l.entry
	switch {
	case e.data.present() && e.metadata.present() && e.erasedAt == 0:
		v.report.Payloads++
	case !e.data.present() && e.metadata.present() && e.erasedAt > l.leaf.Position && e.erasedAt <= v.manifest.Size:
		a := v.awaited[e.erasedAt]
		if a == nil {
			if len(v.awaited) >= maxReceipts {
				v.bare.add(&l.leaf)
				return
			}
			a = &absence{}
			v.awaited[e.erasedAt] = a
		}
		a.add(&l.leaf)
	default:
		v.bare.add(&l.leaf)
	}
	a := v.awaited[l.leaf.Position]
	if a == nil {
		return
	}
	delete(v.awaited, l.leaf.Position)
	receipt := l.leaf.EventType == ErasureReceipt && e.data.present() && len(l.wrong) == 0 && json.Valid(e.data.stored)
	if !receipt || a.several || a.client != l.leaf.ClientID {
		v.report.incomplete(a.first, "the data of %d events is absent, from this position on, and the event at %d isn't a receipt of an erasure for their client",
			a.count, l.leaf.Position)
		return
	}
	v.report.Erased += a.count
}

// maxReceipts bounds the receipts that are awaited at once.
const maxReceipts = 100_000

// passMarks compares the tree with the checkpoints of its size.
func (v *bundleVerifier) passMarks() {
	for ; len(v.marks) > 0 && v.marks[0].checkpoint.Size <= v.tree.size; v.marks = v.marks[1:] {
		if mark := v.marks[0]; mark.checkpoint.Size == v.tree.size {
			compare(v.report, mark, v.tree.root())
		} else {
			v.notCompared(mark)
		}
	}
}

// compare judges a checkpoint by the root that was computed at its size.
func compare(r *Report, mark *kept, root integrity.Hash) {
	c := mark.checkpoint
	same := root == c.Root
	if mark.name != "" {
		r.Since = append(r.Since, Comparison{Name: mark.name, Size: c.Size, Consistent: same})
	}
	switch {
	case same:
	case mark.name != "":
		r.altered(0, "%s: you kept the root %v of the first %d events, and they now have the root %v: the past was rewritten", mark.name, c.Root, c.Size, root)
	default:
		r.altered(0, "the root of the first %d events is %v, and %v was signed", c.Size, root, c.Root)
	}
}

func (v *bundleVerifier) notCompared(mark *kept) {
	c := mark.checkpoint
	if mark.name == "" {
		v.report.incomplete(0, "the root of size %d, which was signed, can't be computed from this bundle", c.Size)
		return
	}
	v.report.Since = append(v.report.Since, Comparison{Name: mark.name, Size: c.Size})
	if c.Size > v.manifest.Size {
		v.report.incomplete(0, "%s is of size %d, and the bundle of an earlier one, %d: export again", mark.name, c.Size, v.manifest.Size)
		return
	}
	v.report.incomplete(0, "the bundle can't be compared with %s, of size %d: export it with --since, or all events", mark.name, c.Size)
}

// ended takes how the reading ended.
func (v *bundleVerifier) ended(b parsedBatch) {
	last := v.tree.size
	switch {
	case b.cut:
		v.report.incomplete(0, "%s is cut short in the line after position %d", eventsFile, last)
	case b.long:
		v.report.altered(0, "%s: a line after position %d is longer than any may be", eventsFile, last)
	case b.err != nil:
		v.bad(eventsFile, b.err)
	default:
		return
	}
	v.broken = true
}

// conclude judges the whole.
func (v *bundleVerifier) conclude(c integrity.Checkpoint) {
	r := v.report
	r.Events = v.events
	switch {
	case v.broken:
		r.incomplete(0, "the root could not be computed: what is wrong above keeps it from that")
	case v.tree.size < c.Size:
		r.incomplete(v.tree.size+1, "%s ends at position %d of %d", eventsFile, v.tree.size, c.Size)
	case v.tree.size > c.Size || v.tree.root() != c.Root:
		r.altered(0, "the root of these %d leaves is %v, and %v was signed: an event was changed, removed, inserted or moved; where can't be told from the bundle alone",
			v.tree.size, v.tree.root(), c.Root)
	}
	for _, mark := range v.marks {
		v.notCompared(mark)
	}
	if v.events != v.manifest.Events {
		r.incomplete(0, "the manifest promises %d events, and there are %d", v.manifest.Events, v.events)
	}
	if v.manifest.Filter == nil && v.gaps > 0 {
		r.incomplete(v.firstGap, "%d events of the range are there as hashes alone", v.gaps)
	}
	if v.bare.count > 0 {
		r.incomplete(v.bare.first, "the payload of %d events is absent, from this position on, and no receipt of an erasure says why: only their leaves were verified", v.bare.count)
	}
	for _, position := range slices.Sorted(maps.Keys(v.awaited)) {
		a := v.awaited[position]
		r.incomplete(a.first, "the data of %d events is absent, from this position on, and the receipt at %d that should say why isn't in the bundle", a.count, position)
	}
}
