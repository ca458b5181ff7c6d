package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"annals/domain"
	"annals/domain/privacy"
	"annals/eventstore"
	"annals/eventstore/subjectkeys"
)

func (c *cli) subjectsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "subjects",
		Short: "Look after the persons that events are about, and erase them",
		Long: `Personal text in events (the address of an order, an inspector, a work order's customer) is recorded encrypted, with one
key for each person. To erase a person is to destroy that key: the events stay as they are and proofs go on verifying, but what
the key sealed is shown as ` + string(domain.Erased) + ` from then on, by every server and in every copy of the log.

A subject is named by client, kind and reference:
  customer       the customer_id of an order
  order          the id of an order that names no customer
  customer_name  the customer_name of a work order
  inspector      the inspector of a quality inspection`,
		Example: "  annals subjects list --client acme\n" +
			"  annals subjects erase --client acme --kind customer --subject c-1 --reason \"asked to, ticket 12\" --yes\n" +
			"  annals subjects hold --client acme --kind customer --subject c-2 --reason \"case 7\"",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.subjectsListCommand(), c.subjectsShowCommand(), c.subjectsEraseCommand(),
		c.subjectsHoldCommand(), c.subjectsReleaseCommand())
	return cmd
}

// subjectFlags name one subject.
type subjectFlags struct {
	client string
	domain.Subject
	reason string
}

func (f *subjectFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.client, "client", "default", "the `client` whose events they are")
	flags.StringVar(&f.Kind, "kind", "", "the `kind` of subject: customer, order, customer_name or inspector")
	flags.StringVar(&f.Reference, "subject", "", "the subject's `reference`, as the events know it")
}

func (f *subjectFlags) registerReason(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "`why`; recorded for ever, so name nobody")
}

func (f *subjectFlags) check(cmd *cobra.Command) error {
	if f.client == "" || f.Kind == "" || f.Reference == "" {
		return misuse(cmd, "--client, --kind and --subject are needed")
	}
	if cmd.Flags().Lookup("reason") == nil {
		return nil
	}
	if f.reason == "" {
		return misuse(cmd, "--reason is needed: it is recorded")
	}
	for _, field := range privacy.CheckReason(f.reason) {
		return misuse(cmd, "--reason %s", field.Detail)
	}
	return nil
}

func (f *subjectFlags) digest(keys *subjectkeys.Keys) string {
	return hex.EncodeToString(keys.Digest(f.client, f.Subject))
}

// withSubjects runs a command on a node whose subscribers don't run, and the subject keys.
func (c *cli) withSubjects(cmd *cobra.Command, work func(context.Context, *node, *subjectkeys.Keys) error) error {
	return c.withOperator(cmd, func(ctx context.Context, n *node) error {
		keys, err := c.keySource(n.dsn).open(ctx, false)
		if err != nil {
			return err
		}
		if keys == nil {
			return errors.New("no personal text has been recorded yet")
		}
		defer keys.Close()
		return work(ctx, n, keys)
	})
}

func (c *cli) subjectsListCommand() *cobra.Command {
	var filter subjectkeys.Filter
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the subjects, the newest first",
		Long:    "Lists the keys of subjects with whom they are about. Of an erased one only the digest is left, which its receipt names.",
		Example: "  annals subjects list\n  annals subjects list --client acme --kind inspector --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(cmd); err != nil {
				return err
			}
			if filter.Limit < 1 {
				return misuse(cmd, "--limit must be above zero")
			}
			return c.withSubjects(cmd, func(ctx context.Context, _ *node, keys *subjectkeys.Keys) error {
				return c.listSubjects(ctx, keys, filter, output)
			})
		},
	}
	cmd.Flags().StringVar(&filter.Client, "client", "", "subjects of one `client`")
	cmd.Flags().StringVar(&filter.Kind, "kind", "", "subjects of one `kind`")
	cmd.Flags().IntVar(&filter.Limit, "limit", 1000, "at most this `number`")
	output.register(cmd)
	return cmd
}

func (c *cli) subjectsShowCommand() *cobra.Command {
	var f subjectFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show the keys of one subject",
		Example: "  annals subjects show --client acme --kind customer --subject c-1",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(f.check(cmd), output.check(cmd)); err != nil {
				return err
			}
			return c.withSubjects(cmd, func(ctx context.Context, _ *node, keys *subjectkeys.Keys) error {
				filter := subjectkeys.Filter{Client: f.client, Kind: f.Kind, Subject: f.Reference}
				return c.listSubjects(ctx, keys, filter, output)
			})
		},
	}
	f.register(cmd)
	output.register(cmd)
	return cmd
}

func (c *cli) listSubjects(
	ctx context.Context, keys *subjectkeys.Keys, filter subjectkeys.Filter, output outputFlag,
) error {
	entries, err := keys.List(ctx, filter)
	if err != nil {
		return err
	}
	if filter.Subject != "" && len(entries) == 0 {
		return subjectkeys.ErrUnknownSubject
	}
	heading := "CLIENT\tKIND\tSUBJECT\tSTATUS\tSINCE\tKEY\tDIGEST"
	return list(c.stdout, output, entries, heading, func(e subjectkeys.Entry) string {
		subject, since := string(domain.Erased), e.CreatedAt
		if e.Subject != nil {
			subject = *e.Subject
		}
		switch {
		case e.ErasedAt != nil:
			since = *e.ErasedAt
		case e.HeldSince != nil:
			since = *e.HeldSince
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%.16s…", e.Client, e.Kind, subject, e.Status(),
			since.UTC().Format(time.RFC3339), e.KeyID, e.Digest)
	})
}

func (c *cli) subjectsEraseCommand() *cobra.Command {
	var f subjectFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "erase",
		Short: "Destroy a subject's key, so that nobody can read what it sealed",
		Long: `Destroys the key of a subject and records a receipt, the event subject.erased. When it returns, no server shows the
text any more. It can't be undone. What the subject does later is recorded under a new key.

The log, read models, snapshots and the audit log hold the text only as the key sealed it: they stay as they are, and so do
proofs. Backups of the keys still open it: see docs/operations.md.

It refuses while a legal hold is in force. Interrupted, it is completed by running it again.`,
		Example: "  annals subjects erase --client acme --kind customer --subject c-1 --reason \"asked to, ticket 12\" --yes",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			if !yes {
				return misuse(cmd, "this can't be undone: say --yes")
			}
			return c.withSubjects(cmd, func(ctx context.Context, n *node, keys *subjectkeys.Keys) error {
				return c.eraseSubject(ctx, n, keys, &f)
			})
		},
	}
	f.register(cmd)
	f.registerReason(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "really erase")
	return cmd
}

// eraseSubject destroys first and then gives the receipt, so that no receipt ever claims what isn't so. What a crash in
// between leaves without a receipt gets it from the next run.
func (c *cli) eraseSubject(ctx context.Context, n *node, keys *subjectkeys.Keys, f *subjectFlags) error {
	erasure, err := keys.Erase(ctx, f.client, f.Subject)
	if err != nil {
		return plainly(err)
	}
	if len(erasure.Pending) == 0 {
		fmt.Fprintf(c.stdout, "%s %s of client %s was erased already\n", f.Kind, f.Reference, f.client)
		return nil
	}
	result, err := n.recordSubject(ctx, f.client, privacy.RecordErasure{
		Kind: f.Kind, Digest: f.digest(keys), KeyIDs: erasure.Pending, Reason: f.reason,
	})
	if err == nil {
		err = keys.Receipted(ctx, erasure.Pending, result.Position)
	}
	if err != nil {
		return fmt.Errorf("the text can't be read any more, but the receipt is missing: run this again: %w", err)
	}
	fmt.Fprintf(c.stdout, "erased %s %s of client %s; the receipt is event %d\n", f.Kind, f.Reference, f.client, result.Position)
	return nil
}

func (c *cli) subjectsHoldCommand() *cobra.Command {
	return c.holdCommand("hold", "Keep a subject from being erased", "case 7",
		func(ctx context.Context, n *node, keys *subjectkeys.Keys, f *subjectFlags) error {
			// In force first, on record then: after a crash in between nothing can be erased.
			if err := keys.SetHold(ctx, f.client, f.Subject, true); err != nil {
				return plainly(err)
			}
			_, err := n.recordSubject(ctx, f.client, privacy.PlaceHold{Kind: f.Kind, Digest: f.digest(keys), Reason: f.reason})
			if err != nil {
				return fmt.Errorf("the hold is in force, but not on record: run this again: %w", err)
			}
			fmt.Fprintf(c.stdout, "%s %s of client %s is held\n", f.Kind, f.Reference, f.client)
			return nil
		})
}

func (c *cli) subjectsReleaseCommand() *cobra.Command {
	return c.holdCommand("release", "End a legal hold", "case 7 is closed",
		func(ctx context.Context, n *node, keys *subjectkeys.Keys, f *subjectFlags) error {
			_, err := n.recordSubject(ctx, f.client, privacy.ReleaseHold{Kind: f.Kind, Digest: f.digest(keys), Reason: f.reason})
			if err != nil {
				return err
			}
			if err := keys.SetHold(ctx, f.client, f.Subject, false); err != nil {
				return plainly(err)
			}
			fmt.Fprintf(c.stdout, "%s %s of client %s isn't held\n", f.Kind, f.Reference, f.client)
			return nil
		})
}

func (c *cli) holdCommand(
	verb, short, reason string,
	work func(ctx context.Context, n *node, keys *subjectkeys.Keys, f *subjectFlags) error,
) *cobra.Command {
	var f subjectFlags
	cmd := &cobra.Command{
		Use:     verb,
		Short:   short,
		Example: fmt.Sprintf("  annals subjects %s --client acme --kind customer --subject c-2 --reason %q", verb, reason),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return c.withSubjects(cmd, func(ctx context.Context, n *node, keys *subjectkeys.Keys) error {
				return work(ctx, n, keys, &f)
			})
		},
	}
	f.register(cmd)
	f.registerReason(cmd)
	return cmd
}

// recordSubject records what is done about a subject as an event of its client.
func (n *node) recordSubject(ctx context.Context, client string, command privacy.Command) (eventstore.CommandResult, error) {
	as := eventstore.Command{Client: client, Actor: operatorName()}
	return n.store.Runner.Run(ctx, as, func(ctx context.Context, u *domain.UnitOfWork) error {
		return privacy.Record(ctx, u, command)
	})
}

// plainly gives the reasons for which a subject can't be erased or held without the path on which they came.
func plainly(err error) error {
	for _, known := range []error{subjectkeys.ErrUnknownSubject, subjectkeys.ErrHeld} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}
