package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/integrity"
	"annals/eventstore/integrity/evidence"
)

func (c *cli) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Keep checkpoints of the log, prove and verify that it wasn't changed, take evidence away",
		Long: `The log's events are leaves of a Merkle tree whose root is signed every second. Who keeps one such checkpoint outside of
the database's reach can later show any change of the events before it, whoever made it.`,
		Example: "  annals audit checkpoint > kept.note\n  annals audit verify --since kept.note\n  annals audit export --bundle evidence.zip\n  annals audit verify --bundle evidence.zip --since kept.note",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.auditCheckpointCommand(), c.auditProveCommand(), c.auditExportCommand(), c.auditVerifyCommand(),
		c.auditKeysCommand())
	return cmd
}

// withEvidence runs a command on the log with its tree.
func (c *cli) withEvidence(cmd *cobra.Command, work func(context.Context, evidence.Source) error) (err error) {
	ctx := cmd.Context()
	d, err := c.openExisting(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := c.checkMigrated(ctx, d.dsn); err != nil {
		return err
	}
	log, err := eventstore.OpenDB(d.dsn, eventstore.RoleApp, 4, "annals audit")
	if err != nil {
		return err
	}
	defer log.Close()
	queries, err := eventstore.OpenDB(d.dsn, eventstore.RoleQuery, 4, "annals audit")
	if err != nil {
		return err
	}
	defer queries.Close()
	return work(ctx, evidence.Source{
		Log: integrity.NewLog(log), Records: integrity.NewRecords(eventstore.NewTenants(queries)), Keys: operations.SigningKeyID(),
	})
}

func (c *cli) auditCheckpointCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the latest signed checkpoint",
		Long: `Waits until a checkpoint is signed that covers every event of now, and prints it: a signed note in the C2SP
tlog-checkpoint format. Keep it where nobody who can write to the database can change it. Sealing and signing is done by
a running server, within about two seconds.`,
		Example: "  annals audit checkpoint > kept.note\n  annals audit checkpoint --wait 0",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait < 0 {
				return misuse(cmd, "--wait must be 0 or more")
			}
			return c.withEvidence(cmd, func(ctx context.Context, s evidence.Source) error {
				checkpoint, err := awaitCheckpoint(ctx, s, wait)
				if err != nil {
					return err
				}
				_, err = io.WriteString(c.stdout, checkpoint.Note)
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how `long` to wait for the events of now to be signed; 0: print the latest one there is")
	return cmd
}

// checkpointPoll is how often a waiting command looks for a checkpoint.
const checkpointPoll = 100 * time.Millisecond

// awaitCheckpoint waits for a checkpoint that covers what is in the log now.
func awaitCheckpoint(ctx context.Context, s evidence.Source, wait time.Duration) (integrity.SignedCheckpoint, error) {
	head, err := s.Records.Head(ctx)
	if err != nil {
		return integrity.SignedCheckpoint{}, err
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		checkpoint, err := s.Log.Latest(ctx)
		if err != nil && !errors.Is(err, integrity.ErrNoCheckpoint) || err == nil && (wait == 0 || checkpoint.Size >= head) {
			return checkpoint, err
		}
		if wait == 0 {
			return checkpoint, err
		}
		select {
		case <-ctx.Done():
			return checkpoint, ctx.Err()
		case <-time.After(checkpointPoll):
		case <-deadline.C:
			return checkpoint, fmt.Errorf("after %s the log is signed up to position %d of %d: is a server running that has the signing key? (--wait 0 prints the latest checkpoint there is)",
				wait, checkpoint.Size, head)
		}
	}
}

func (c *cli) auditProveCommand() *cobra.Command {
	var size int64
	var from string
	var why reasonFlag
	cmd := &cobra.Command{
		Use:   "prove [POSITION]",
		Short: "Prove that an event is in the log, or that the log continues an earlier one",
		Long: `Prints a file that proves, to anybody who has the log's verifier key, that the event at POSITION is in the log; or with
--from, that the log continues the one of a checkpoint that was kept. The event is in the file, so that its reading is put on record
before. 'annals audit verify --proof FILE' checks it, and
docs/auditing.md shows how to do so with openssl alone.`,
		Example: "  annals audit prove 42 --reason \"for the customer\" > event-42.json\n  annals audit prove --from kept.note > continues.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if (from == "") == (len(args) == 0) || len(args) > 1 {
				return misuse(cmd, "it needs either a POSITION or --from")
			}
			if size < 0 {
				return misuse(cmd, "--size must be 0 or more")
			}
			if from != "" {
				if cmd.Flags().Changed("reason") {
					return misuse(cmd, "--reason is for a POSITION: --from shows no event")
				}
				return c.proveContinues(cmd, from, size)
			}
			position, err := positionArg(cmd, args[0])
			if err != nil {
				return err
			}
			return c.prove(cmd, position, size, &why)
		},
	}
	cmd.Flags().Int64Var(&size, "size", 0, "`size` of the signed tree to prove it in (default: the latest)")
	cmd.Flags().StringVar(&from, "from", "", "`file` with an earlier checkpoint")
	why.register(cmd)
	return cmd
}

// prove proves an event, which it shows.
func (c *cli) prove(cmd *cobra.Command, position, size int64, why *reasonFlag) error {
	return c.withReading(cmd, eventstore.AllClients, "application/json", why, func(_ context.Context, r *reading) error {
		return c.withEvidence(cmd, func(ctx context.Context, s evidence.Source) error {
			proof, err := evidence.Prove(ctx, s, position, size)
			if err != nil {
				return plainRefusal(err)
			}
			if err := r.record(ctx, eventstore.Envelope{Position: position}); err != nil {
				return err
			}
			return c.printProof(proof)
		})
	})
}

func (c *cli) proveContinues(cmd *cobra.Command, from string, size int64) error {
	kept, err := readNotes(cmd, []string{from})
	if err != nil {
		return err
	}
	return c.withEvidence(cmd, func(ctx context.Context, s evidence.Source) error {
		proof, err := evidence.ProveContinues(ctx, s, kept[0], size)
		if err != nil {
			return plainRefusal(err)
		}
		return c.printProof(proof)
	})
}

func (c *cli) printProof(proof *evidence.Proof) error {
	data, err := proof.Bytes()
	if err != nil {
		return err
	}
	_, err = c.stdout.Write(data)
	return err
}

// maxNoteFile is more than a signed note has.
const maxNoteFile = 64 << 10

// readNotes reads checkpoints that were kept.
func readNotes(cmd *cobra.Command, names []string) (notes []evidence.Kept, err error) {
	for _, name := range names {
		data, err := readBounded(name, maxNoteFile)
		if err != nil {
			return nil, misuse(cmd, "%v", err)
		}
		notes = append(notes, evidence.Kept{Name: name, Note: data})
	}
	return notes, nil
}

// readBounded reads a file that must not be larger than max bytes.
func readBounded(name string, max int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("%s has more than %d bytes", name, max)
	}
	return data, nil
}

// verifierKeys reads keys that were given as such, or as files of them.
func verifierKeys(cmd *cobra.Command, given []string) (keys []string, err error) {
	for _, key := range given {
		if _, err := integrity.Verifiers(key); err == nil {
			keys = append(keys, key)
			continue
		}
		data, err := readBounded(key, maxNoteFile)
		if err != nil {
			return nil, misuse(cmd, "--key %.80q is neither a verifier key nor a file: %v", key, err)
		}
		for _, line := range strings.Fields(string(data)) {
			if _, err := integrity.Verifiers(line); err != nil {
				return nil, misuse(cmd, "--key %s: %v", key, err)
			}
			keys = append(keys, line)
		}
	}
	return keys, nil
}
