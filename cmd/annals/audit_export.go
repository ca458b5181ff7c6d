package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"annals/cmd/annals/internal/progress"
	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
)

func (c *cli) auditExportCommand() *cobra.Command {
	var selection eventSelection
	var o bundleFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export events with all that proves them",
		Long: `Writes a bundle of events up to the latest signed checkpoint: a ZIP file, or a directory, with the exact bytes of the
events, their leaves and salts, the hashes of the rest of the log, the signed checkpoint and the log's keys.
'annals audit verify --bundle' checks it anywhere, without a database. The bundle of a selection proves that each of its
events is in the log; that none is missing can be proved for a range of positions only.`,
		Example: `  annals audit export --bundle evidence.zip
  annals audit export --bundle acme.zip --client acme --since kept.note
  annals audit export --bundle - --after 1000 --until 2000 | ssh auditor 'cat > evidence.zip'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := selection.filter(cmd)
			if err != nil {
				return err
			}
			if o.bundle == "" {
				return misuse(cmd, "--bundle must name a file or a directory")
			}
			if o.until < 0 || o.until > 0 && o.until <= selection.after {
				return misuse(cmd, "--until must be a position after --after")
			}
			since, err := readNotes(cmd, o.since)
			if err != nil {
				return err
			}
			return c.withEvidence(cmd, func(ctx context.Context, s evidence.Source) error {
				return c.exportBundle(ctx, s, o, evidence.ExportOptions{
					Selection: integrity.Selection{
						Client: filter.Client, EventTypes: filter.EventTypes, AggregateType: filter.AggregateType,
						AggregateID: filter.AggregateID, ActorID: filter.ActorID, From: selection.after + 1, To: o.until,
					},
					Since: since, WithoutPayloads: o.withoutPayloads, WithoutErased: o.withoutErased,
				})
			})
		},
	}
	selection.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.bundle, "bundle", "", "`file` (.zip) or new directory to write; - is a ZIP file on standard output")
	flags.Int64Var(&o.until, "until", 0, "last `position` (default: the one signed last)")
	flags.StringSliceVar(&o.since, "since", nil, "`files` with checkpoints that the bundle shall be comparable with")
	flags.BoolVar(&o.withoutPayloads, "without-payloads", false, "leave out data and metadata: who, what and when stay")
	flags.BoolVar(&o.withoutErased, "without-erased", false, "leave out data whose personal texts are all erased, and name the receipt instead")
	return cmd
}

// bundleFlags say what a bundle holds and where it goes.
type bundleFlags struct {
	bundle          string
	until           int64
	since           []string
	withoutPayloads bool
	withoutErased   bool
}

func (c *cli) exportBundle(ctx context.Context, s evidence.Source, o bundleFlags, options evidence.ExportOptions) (err error) {
	options.CreatedAt, options.CreatedBy = time.Now(), "annals "+buildVersion()
	end := func() {}
	if progress.IsTerminal(c.stderr) {
		options.Progress, end = positionBar(c.stderr)
	}
	to, finish, err := openDestination(o.bundle, c.stdout, options.CreatedAt)
	if err != nil {
		return err
	}
	manifest, err := evidence.Export(ctx, s, to, options)
	end()
	if err == nil {
		err = to.Close()
	}
	if err = finish(err); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stderr, "%d events: %s\n", manifest.Events, manifest.Scope)
	return err
}

// openDestination begins a bundle. finish ends it, with the error that kept it from being written: a file that wasn't
// written whole doesn't appear.
func openDestination(name string, stdout io.Writer, at time.Time) (_ evidence.Destination, finish func(error) error, err error) {
	switch {
	case name == "-":
		return evidence.NewZip(stdout, at), func(err error) error { return err }, nil
	case !strings.HasSuffix(name, ".zip"):
		to, err := evidence.NewDirectory(name)
		return to, func(err error) error { return err }, err
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, nil, fmt.Errorf("%s exists already", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".bundle-*")
	if err != nil {
		return nil, nil, err
	}
	return evidence.NewZip(f, at), func(err error) error {
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(f.Name(), name)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}, nil
}
