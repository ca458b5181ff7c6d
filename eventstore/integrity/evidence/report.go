package evidence

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"annals/eventstore/integrity"
)

// Verdict is what a verification comes to.
type Verdict string

// The verdicts. Altered outweighs incomplete.
const (
	Intact     Verdict = "intact"     // all that was to be checked was, and agrees
	Altered    Verdict = "altered"    // something was changed
	Incomplete Verdict = "incomplete" // nothing is known to be changed, but not all could be checked
)

// maxFindings bounds the findings that a report lists. All are counted.
const maxFindings = 100

// Finding is something that isn't as it should be.
type Finding struct {
	Verdict  Verdict `json:"verdict"`            // Altered or Incomplete
	Position *int64  `json:"position,omitempty"` // of the event that it is about; nil: it is about none alone
	Detail   string  `json:"detail"`
}

// order puts findings about a position first, by position.
func (f *Finding) order() int64 {
	if f.Position == nil {
		return math.MaxInt64
	}
	return *f.Position
}

// Comparison is what became of a checkpoint that the verifier kept.
type Comparison struct {
	Name       string `json:"name"`
	Size       int64  `json:"size"`
	Consistent bool   `json:"consistent"` // the log begins with all that the checkpoint was of
}

// Report says what was checked and what was found.
type Report struct {
	Verdict  Verdict `json:"verdict"`
	Checked  string  `json:"checked"`  // database, bundle or proof
	Origin   string  `json:"origin"`   // the log's name
	Size     int64   `json:"size"`     // of the tree
	Root     string  `json:"root"`     // of the tree, base64
	Scope    string  `json:"scope"`    // which events it was about, and what that can't prove
	Events   int64   `json:"events"`   // whose leaves were computed
	Payloads int64   `json:"payloads"` // events whose data and metadata were computed
	Erased   int64   `json:"erased"`   // events whose data is absent and accepted with a receipt
	Unsealed int64   `json:"unsealed"` // events after the tree's end, which nothing protects yet

	Checkpoints int64    `json:"checkpoints"` // signed checkpoints that were checked
	SignedBy    []string `json:"signed_by"`   // ids of the keys that signed the tree
	// KeyGiven: the key is one that the verifier gave, or one that such a key vouches for.
	KeyGiven bool `json:"key_given"`
	// Since are the checkpoints that the verifier kept. None: the evidence is only consistent in itself.
	Since []Comparison `json:"since"`

	Findings []Finding `json:"findings"` // at most 100
	Found    int64     `json:"found"`    // findings, listed or not
	Remarks  []string  `json:"remarks"`
	Seconds  float64   `json:"seconds"`
	Rate     float64   `json:"events_per_second"`

	started time.Time
}

// InternallyOnly is what a report says when nothing that the verifier kept was compared.
const InternallyOnly = "internally consistent only: no checkpoint that you kept was given (--since), so a log that was " +
	"rewritten as a whole and signed anew would look the same"

func newReport(checked string) *Report {
	return &Report{
		Checked: checked, SignedBy: []string{}, Since: []Comparison{}, Findings: []Finding{}, Remarks: []string{},
		started: time.Now(),
	}
}

// add notes a finding. Position 0 stands for none.
func (r *Report) add(v Verdict, position int64, format string, args ...any) {
	if r.Found++; len(r.Findings) >= maxFindings {
		if v == Altered && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Verdict == Altered }) {
			r.Findings = r.Findings[:maxFindings-1] // the verdict must be seen
		} else {
			return
		}
	}
	f := Finding{Verdict: v, Detail: fmt.Sprintf(format, args...)}
	if position != 0 {
		f.Position = &position
	}
	r.Findings = append(r.Findings, f)
}

func (r *Report) altered(position int64, format string, args ...any) {
	r.add(Altered, position, format, args...)
}

func (r *Report) incomplete(position int64, format string, args ...any) {
	r.add(Incomplete, position, format, args...)
}

func (r *Report) remark(format string, args ...any) {
	r.Remarks = append(r.Remarks, fmt.Sprintf(format, args...))
}

// finish draws the conclusion.
func (r *Report) finish() *Report {
	r.Verdict = Intact
	for _, f := range r.Findings {
		if f.Verdict == Altered {
			r.Verdict = Altered
			break
		}
		r.Verdict = Incomplete
	}
	if len(r.Since) == 0 {
		r.remark(InternallyOnly)
	}
	if !r.KeyGiven && len(r.SignedBy) > 0 {
		r.remark("the key was taken from what was checked: nothing here shows that it is the log's (compare it with one that you got another way: --key)")
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(a.order(), b.order()))
	})
	r.Seconds = time.Since(r.started).Seconds()
	if r.Seconds > 0 {
		r.Rate = float64(r.Events) / r.Seconds
	}
	return r
}

func (r *Report) tree(origin string, size int64, root integrity.Hash) {
	r.Origin, r.Size, r.Root = origin, size, root.String()
}
