package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"annals/eventstore/integrity"
)

// marks are the checkpoints that the tree is compared with while it grows: those that the verifier kept, and those in the
// database, which are read a page at a time.
type marks struct {
	kept    []*kept
	stored  []integrity.SignedCheckpoint
	after   int64 // size of the last one read
	more    bool
	rank    int   // of the newest key that signed so far
	latest  int64 // size of the newest stored one at the start
	checked int64 // size of the last stored one that was compared
	good    int64 // the largest signed size at which the stored hashes have the signed root
	goodRow int64 // the largest signed size at which the rows have it
	bad     int64 // the smallest at which neither has; 0: none
	fetch   func(after int64) ([]integrity.SignedCheckpoint, error)
	err     error
	newest  signatures // under the last stored one that was compared
	late    bool       // which came after the key had been replaced
}

const checkpointPage = 1000

func (m *marks) open(ctx context.Context, v *databaseVerifier, list []*kept) error {
	m.kept = list
	slices.SortStableFunc(m.kept, func(a, b *kept) int { return int(min(max(a.checkpoint.Size-b.checkpoint.Size, -1), 1)) })
	m.fetch = func(after int64) ([]integrity.SignedCheckpoint, error) {
		return v.source.Log.Checkpoints(ctx, after, checkpointPage)
	}
	m.after, m.more = minPosition, true
	return m.fill()
}

func (m *marks) fill() (err error) {
	if len(m.stored) > 0 || !m.more {
		return nil
	}
	if m.stored, err = m.fetch(m.after); err != nil {
		return err
	}
	m.more = len(m.stored) == checkpointPage
	if n := len(m.stored); n > 0 {
		m.after = m.stored[n-1].Size
	}
	return nil
}

// pass compares the tree with the checkpoints of its size.
func (m *marks) pass(v *databaseVerifier) {
	size := v.checked.size
	for ; len(m.kept) > 0 && m.kept[0].checkpoint.Size <= size; m.kept = m.kept[1:] {
		m.keptMark(v, m.kept[0])
	}
	for m.err == nil && len(m.stored) > 0 && m.stored[0].Size <= size {
		m.storedMark(v, m.stored[0])
		m.stored = m.stored[1:]
		m.err = m.fill()
	}
}

// agree tells which of the two trees has a root.
func (m *marks) agree(v *databaseVerifier, size int64, root integrity.Hash) (hashes, rows bool) {
	hashes = v.checked.root() == root
	if rows = hashes; v.rows != nil {
		rows = !v.gone && v.rows.root() == root
	}
	if hashes {
		m.good = size
	}
	if rows {
		m.goodRow = size
	}
	if !hashes && !rows && m.bad == 0 {
		m.bad = size
	}
	return hashes, rows
}

func (m *marks) keptMark(v *databaseVerifier, k *kept) {
	c := k.checkpoint
	m.rank = max(m.rank, k.rank)
	hashes, rows := m.agree(v, c.Size, c.Root)
	v.report.Since = append(v.report.Since, Comparison{Name: k.name, Size: c.Size, Consistent: rows})
	switch {
	case !hashes && !rows:
		v.report.altered(0, "%s: you kept the root %v of the first %d events, and they now have the root %v: the past was rewritten%s",
			k.name, c.Root, c.Size, v.checked.root(), m.between())
	case !rows:
		v.report.altered(0, "%s: the first %d events as they are don't have the root that you kept; the tree still has it, so that the altered positions are known", k.name, c.Size)
	case c.Size > v.stored.Size:
		v.report.incomplete(0, "%s is of size %d, and the log is sealed up to %d only: the events themselves agree with it", k.name, c.Size, v.stored.Size)
	}
}

// between narrows down where the first difference is.
func (m *marks) between() string {
	if good := max(m.good, m.goodRow); good > 0 && m.bad > good {
		return fmt.Sprintf(" (after position %d, up to which a signed root agrees, and not after %d)", good, m.bad)
	}
	return ""
}

func (m *marks) storedMark(v *databaseVerifier, s integrity.SignedCheckpoint) {
	c, by, err := v.trust.open([]byte(s.Note))
	switch {
	case err != nil:
		v.report.altered(0, "the stored checkpoint at size %d: %v", s.Size, err)
		return
	case c.Size != s.Size || c.Root != s.Root || c.Origin != v.stored.Origin:
		v.report.altered(0, "the stored checkpoint at size %d isn't what its note says, which is of %s, size %d and root %v", s.Size, c.Origin, c.Size, c.Root)
		return
	case by.rank < m.rank:
		v.report.altered(0, "the stored checkpoint at size %d is signed by %s alone, which had been replaced by then", s.Size, by.ids)
	}
	m.late = by.rank < m.rank
	m.rank, m.checked, m.newest = max(m.rank, by.rank), s.Size, by
	v.report.Checkpoints++
	hashes, rows := m.agree(v, s.Size, s.Root)
	if !hashes && !rows {
		v.report.altered(0, "at size %d the root %v was signed, and it is %v: events were rewritten with their hashes%s",
			s.Size, s.Root, v.checked.root(), m.between())
	}
}

// judge draws conclusions once all positions were seen.
func (v *databaseVerifier) judge() {
	r, m := v.report, &v.marks
	root := v.checked.root()
	r.Root, r.SignedBy = root.String(), append(r.SignedBy, m.newest.ids...)
	v.explain()
	if n := v.missing.count; n > 1 {
		r.altered(0, "%d events are missing in all", n)
	}
	for _, k := range m.kept {
		r.Since = append(r.Since, Comparison{Name: k.name, Size: k.checkpoint.Size})
		r.altered(0, "%s is of size %d, and the log has %d events: the ones after that were removed", k.name, k.checkpoint.Size, v.head)
	}
	if m.latest > v.stored.Size {
		r.altered(0, "a checkpoint of size %d is stored, and the log is sealed up to %d only", m.latest, v.stored.Size)
	}
	switch {
	case r.Checkpoints == 0:
		r.incomplete(0, "no signed checkpoint is stored that counts")
	case m.checked < v.stored.Size:
		r.remark("events %d to %d are sealed and not signed yet", m.checked+1, v.stored.Size)
	}
	if r.Checkpoints > 0 {
		v.newestSigner()
	}
	v.edge()
}

// newestSigner judges who signed the newest checkpoint. In a database the key that is in use has signed one since it was
// put to use, in the same transaction.
func (v *databaseVerifier) newestSigner() {
	m, k := &v.marks, v.active
	switch {
	case m.late: // which is said
	case k != nil && k.Position != nil && *k.Position <= m.checked && m.newest.rank < v.trust.order[k.VerifierKey]:
		v.report.altered(0, "the newest checkpoint, at size %d, is signed by %s alone, and the key %s has signed since position %d: what it signed was removed",
			m.checked, m.newest.ids, k.ID, *k.Position)
	default:
		v.trust.newest(v.report, m.checked, m.newest, nil)
	}
}

// edge compares the row of the tree.
func (v *databaseVerifier) edge() {
	if v.stored.Size == 0 || v.checked.size != v.stored.Size {
		return
	}
	root := v.tiles.Root()
	leaves, nodes := v.tiles.Edge()
	if string(v.stored.Root) != string(root[:]) {
		v.report.altered(0, "the root that is stored of the tree, %x, isn't that of its hashes, %x", v.stored.Root, root[:])
	}
	if string(v.stored.OpenLeaves) != string(leaves) || string(v.stored.OpenNodes) != string(nodes) {
		v.report.altered(0, "the open tiles that are stored of the tree aren't those of its hashes")
	}
}

// explain tells of each position that differs what can be known.
func (v *databaseVerifier) explain() {
	m := &v.marks
	for i := range v.suspects {
		s := &v.suspects[i]
		switch moved := v.movedFrom(s); {
		case errors.Is(s.err, integrity.ErrLeafVersion):
			v.report.incomplete(s.position, "a newer program sealed the event, or it was changed: %v", s.err)
		case s.err != nil:
			v.report.altered(s.position, "the event can't have been sealed as it is: %v", s.err)
		case moved != 0:
			v.report.altered(s.position, "here is the event that was sealed at position %d: events were moved", moved)
		case s.position <= m.goodRow && s.position > m.good:
			v.report.altered(s.position, "the stored hash of the event was changed: the event itself is the one that was signed")
		case s.position > m.good:
			v.report.altered(s.position, "%s %s doesn't have the hash that is stored of it, and no signed root says which of the two was changed", s.leaf.EventType, s.leaf.EventID)
		default:
			v.report.altered(s.position, "%s %s was changed after it was sealed: its leaf's hash is %v, and %v was sealed and signed",
				s.leaf.EventType, s.leaf.EventID, s.computed, s.leafHash)
		}
	}
	if v.others > 0 {
		v.report.altered(0, "%d further positions differ", v.others)
		v.report.Found += v.others - 1
	}
}

// maxMoves bounds the suspects among which moves are looked for: each is tried at the place of each.
const maxMoves = 64

// movedFrom gives the position that a row was sealed at, if it is that of another suspect; 0: it isn't.
func (v *databaseVerifier) movedFrom(s *suspect) int64 {
	for i := range min(len(v.suspects), maxMoves) {
		other := &v.suspects[i]
		if other.position == s.position || s.err != nil {
			continue
		}
		leaf := s.leaf
		leaf.Position = other.position
		if hash, err := leaf.Hash(); err == nil && hash == other.leafHash {
			return other.position
		}
	}
	return 0
}

// beyond checks that the positions after those that were looked at have no gap, and that there are no tiles too many.
func (v *databaseVerifier) beyond(ctx context.Context) error {
	if v.marks.err != nil {
		return v.marks.err
	}
	gap, err := v.source.Records.FirstGap(ctx, v.until)
	if err != nil {
		return err
	}
	if gap > 0 {
		v.report.altered(gap, "the event at this position is missing (it wasn't sealed yet)")
	}
	stray, err := v.source.Log.StrayTiles(ctx, v.stored.Size)
	if err != nil {
		return err
	}
	if stray > 0 {
		v.report.altered(0, "%d tiles are stored that a tree of size %d doesn't have", stray, v.stored.Size)
	}
	return nil
}

// streams checks that the versions of each stream are 1, 2, 3, ….
func (v *databaseVerifier) streams(ctx context.Context) error {
	broken, err := v.source.Records.BrokenStreams(ctx, 10)
	if err != nil {
		return err
	}
	for _, id := range broken {
		v.report.altered(0, "the versions of the stream %s aren't 1, 2, 3, …", id)
	}
	return nil
}
