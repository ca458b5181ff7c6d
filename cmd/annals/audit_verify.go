package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"annals/cmd/annals/internal/progress"
	"annals/eventstore/integrity/evidence"
)

// Exit codes of annals audit verify.
const (
	exitAltered      = 1
	exitIncomplete   = 2
	exitVerifyMisuse = 64
)

// verifyPath is the command whose misuse has a code of its own: 2 says something else there.
const verifyPath = "annals audit verify"

// verifyFlags say what is verified against what.
type verifyFlags struct {
	db            bool
	bundle, proof string
	since, keys   []string
	output        outputFlag
}

func (c *cli) auditVerifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify the log, a bundle or a proof",
		Long: `Verifies the database (the default, --db), a bundle (--bundle) or a proof (--proof); the last two need no database.

Everything is recomputed: each event's hash from its row or its exact bytes, the tree over them, its root, and the
signatures. With --since it is compared with checkpoints that you kept. Without, the answer can only be that everything
agrees with itself, which it says. --key names the verifier key that you trust; without it the key is taken from what
is verified, and the answer says that too.

Exit status: 0 nothing is altered, 1 something is, 2 not all could be verified, 64 the command was misused.`,
		Example: `  annals audit verify --since kept.note
  annals audit verify --bundle evidence.zip --since kept.note --key log.key
  annals audit verify --proof event-42.json --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := c.verify(cmd, &f)
			var misused *misuseError
			var status *exitError
			if err == nil || errors.As(err, &misused) || errors.As(err, &status) {
				return err
			}
			return &exitError{code: exitIncomplete, err: err} // nothing was found to be altered
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.db, "db", false, "verify the database (the default)")
	flags.StringVar(&f.bundle, "bundle", "", "verify a bundle: a `file` or directory of annals audit export")
	flags.StringVar(&f.proof, "proof", "", "verify a proof: a `file` of annals audit prove")
	flags.StringSliceVar(&f.since, "since", nil, "`files` with checkpoints that you kept")
	flags.StringSliceVar(&f.keys, "key", nil, "verifier `keys` that you trust, or files with them")
	f.output.register(cmd)
	return cmd
}

func (c *cli) verify(cmd *cobra.Command, f *verifyFlags) error {
	if err := f.output.check(cmd); err != nil {
		return err
	}
	modes := 0
	for _, given := range []bool{f.db, f.bundle != "", f.proof != ""} {
		if given {
			modes++
		}
	}
	if modes > 1 {
		return misuse(cmd, "of --db, --bundle and --proof only one can be given")
	}
	var o evidence.Options
	var err error
	if o.Since, err = readNotes(cmd, f.since); err != nil {
		return err
	}
	if o.Keys, err = verifierKeys(cmd, f.keys); err != nil {
		return err
	}
	report, err := c.runVerify(cmd, f, o)
	if err != nil {
		return err
	}
	if f.output.format == "json" {
		err = printJSON(c.stdout, report)
	} else {
		err = c.printVerdict(report)
	}
	switch {
	case err != nil:
		return err
	case report.Verdict == evidence.Altered:
		return &exitError{code: exitAltered, err: errors.New("what was verified has been altered")}
	case report.Verdict == evidence.Incomplete:
		return &exitError{code: exitIncomplete, err: errors.New("not all could be verified")}
	}
	return nil
}

func (c *cli) runVerify(cmd *cobra.Command, f *verifyFlags, o evidence.Options) (report *evidence.Report, err error) {
	if f.proof != "" {
		data, err := readBounded(f.proof, evidence.MaxProof)
		if err != nil {
			return nil, misuse(cmd, "%v", err)
		}
		return evidence.VerifyProof(data, o)
	}
	end := func() {}
	if progress.IsTerminal(c.stderr) {
		o.Progress, end = positionBar(c.stderr)
	}
	if f.bundle != "" {
		bundle, closer, err := evidence.Open(f.bundle)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, misuse(cmd, "%v", err)
		}
		if err != nil {
			return nil, err
		}
		defer closer.Close()
		report, err = evidence.VerifyBundle(cmd.Context(), bundle, o)
		end()
		return report, err
	}
	err = c.withEvidence(cmd, func(ctx context.Context, s evidence.Source) error {
		report, err = evidence.VerifyDatabase(ctx, s, o)
		end()
		return err
	})
	return report, err
}

// printVerdict prints a report for people.
func (c *cli) printVerdict(r *evidence.Report) error {
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tthe %s\n", strings.ToUpper(string(r.Verdict)), r.Checked)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("log", "%s", inCell(r.Origin))
	line("scope", "%s", r.Scope)
	erased := ""
	if r.Erased > 0 {
		erased = fmt.Sprintf(", data erased with a receipt %d", r.Erased)
	}
	line("recomputed", "leaves %d, payloads %d%s", r.Events, r.Payloads, erased)
	line("tree", "size %d, root %s", r.Size, r.Root)
	line("signed", "by %s; checkpoints checked: %d", strings.Join(signers(r), ", "), r.Checkpoints)
	for _, s := range r.Since {
		verdict := "the log does not begin with what you kept"
		if s.Consistent {
			verdict = "the log begins with what you kept"
		}
		line("since", "%s, size %d: %s", s.Name, s.Size, verdict)
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
	line("took", "%s, %.0f events a second", took, r.Rate)
	if err := w.Flush(); err != nil {
		return err
	}
	var text strings.Builder
	for _, f := range r.Findings {
		at := ""
		if f.Position != nil {
			at = fmt.Sprintf("position %d: ", *f.Position)
		}
		fmt.Fprintf(&text, "%s: %s%s\n", strings.ToUpper(string(f.Verdict)), at, inCell(f.Detail))
	}
	if more := r.Found - int64(len(r.Findings)); more > 0 {
		fmt.Fprintf(&text, "and %d more\n", more)
	}
	for _, remark := range r.Remarks {
		fmt.Fprintf(&text, "Note: %s\n", inCell(remark))
	}
	_, err := fmt.Fprint(c.stdout, text.String())
	return err
}

func signers(r *evidence.Report) []string {
	switch {
	case len(r.SignedBy) == 0:
		return []string{"no key that counts"}
	case r.KeyGiven:
		return append(r.SignedBy, "which you trust")
	}
	return r.SignedBy
}
