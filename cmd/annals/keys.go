package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/apikeys"
)

func (c *cli) keysCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list, rotate and revoke API keys",
		Long: `Lists the API keys: whose they are, what they may do, and when they were used last. Secrets aren't kept and can't be shown.

As soon as there is a key, servers ask every request for a credential, and go on doing so when the last key is revoked.`,
		Example: "  annals keys create --client acme --role operator --actor ada\n  annals keys --output json\n" +
			"  annals keys rotate k7f3m2q9x4bc --grace 1h\n  annals keys revoke k7f3m2q9x4bc --reason \"left the company\"",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listKeys(cmd, output) },
	}
	output.register(cmd)
	cmd.AddCommand(c.createKeyCommand(), c.listKeysCommand(), c.rotateKeyCommand(), c.revokeKeyCommand())
	return cmd
}

func (c *cli) listKeysCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the API keys",
		Example: "  annals keys list\n  annals keys list --output json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listKeys(cmd, output) },
	}
	output.register(cmd)
	return cmd
}

// listedKey is a key with its status.
type listedKey struct {
	apikeys.Key
	Status string `json:"status"`
}

func (c *cli) listKeys(cmd *cobra.Command, output outputFlag) error {
	if err := output.check(cmd); err != nil {
		return err
	}
	return c.withKeys(cmd, func(ctx context.Context, keys *apikeys.Manager) error {
		found, err := keys.List(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		items := make([]listedKey, len(found))
		for i, k := range found {
			items[i] = listedKey{Key: k, Status: k.Status(now)}
		}
		heading := "ID\tCLIENT\tROLE\tACTOR\tLABEL\tSTATUS\tEXPIRES\tLAST USED"
		return list(c.stdout, output, items, heading, func(k listedKey) string {
			label := "-"
			if k.Label != nil {
				label = *k.Label
			}
			return strings.Join([]string{k.ID, k.Client, k.Role, k.Actor, label, k.Status, shortTime(k.ExpiresAt),
				shortTime(k.LastUsedAt)}, "\t")
		})
	})
}

func shortTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func (c *cli) createKeyCommand() *cobra.Command {
	key := apikeys.NewKey{}
	var label, expiresIn string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an API key and print it",
		Long: `Makes an API key and prints it on stdout. It is shown this once: only a hash of it is stored.

Roles: viewer (queries), operator (queries and commands), auditor (queries, events, audit log, integrity) and admin (all).
The client '*' stands for every client and is for auditors and admins; such a key reads and issues no commands.`,
		Example: "  annals keys create --client acme --role operator --actor ada --expires-in 90d\n" +
			"  annals keys create --client '*' --role auditor --actor auditors --label \"yearly audit\"",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if key.Client == "" || key.Role == "" || key.Actor == "" {
				return misuse(cmd, "--client, --role and --actor are needed")
			}
			if label != "" {
				key.Label = &label
			}
			if expiresIn != "" {
				lifetime, err := parseDays(expiresIn)
				if err != nil || lifetime <= 0 {
					return misuse(cmd, "--expires-in must be a time above zero such as 90d or 12h, not %q", expiresIn)
				}
				until := time.Now().UTC().Add(lifetime).Truncate(time.Second)
				key.ExpiresAt = &until
			}
			key.CreatedBy = operatorName()
			check := operations.CreateAPIKey{KeyID: "new", Client: key.Client, Role: key.Role, Actor: key.Actor, Label: key.Label}
			if err := domain.Validate(check); err != nil {
				return misuse(cmd, "%s", fieldsOf(err))
			}
			return c.withKeys(cmd, func(ctx context.Context, keys *apikeys.Manager) error {
				made, secret, err := keys.Create(ctx, key)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.stderr, "key %s: %s of client %s, actor %s. Keep it: it isn't shown again. Servers know it within "+
					"two seconds, and then ask every request for a credential.\n", made.ID, made.Role, made.Client, made.Actor)
				_, err = fmt.Fprintln(c.stdout, secret)
				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&key.Client, "client", "", "`client` (tenant) that the key is for; '*': every client")
	flags.StringVar(&key.Role, "role", "", "`role`: "+strings.Join(operations.KeyRoles(), ", "))
	flags.StringVar(&key.Actor, "actor", "", "`name` that stands in the events")
	flags.StringVar(&label, "label", "", "`text` to tell keys apart by")
	flags.StringVar(&expiresIn, "expires-in", "", "`time` after which the key isn't taken any more, such as 90d; none: never")
	return cmd
}

func (c *cli) rotateKeyCommand() *cobra.Command {
	var graceText string
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Give a key another secret and print it",
		Long: `Gives a key another secret and prints the key on stdout. The secret before is taken for --grace more; one from before an
earlier rotation isn't taken any more.`,
		Example: "  annals keys rotate k7f3m2q9x4bc\n  annals keys rotate k7f3m2q9x4bc --grace 0s",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			grace, err := parseDays(graceText)
			if err != nil || grace < 0 {
				return misuse(cmd, "--grace must be a time such as 24h or 7d, not %q", graceText)
			}
			return c.withKeys(cmd, func(ctx context.Context, keys *apikeys.Manager) error {
				k, secret, err := keys.Rotate(ctx, args[0], grace)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.stderr, "key %s: the secret before is taken until %s\n", k.ID, k.OldUntil.UTC().Format(time.RFC3339))
				_, err = fmt.Fprintln(c.stdout, secret)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&graceText, "grace", "24h", "`time` for which the secret before is still taken")
	return cmd
}

func (c *cli) revokeKeyCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a key for good",
		Long:    "Ends a key for good: every server refuses it within two seconds. The reason is recorded as an event.",
		Example: "  annals keys revoke k7f3m2q9x4bc\n  annals keys revoke k7f3m2q9x4bc --reason \"left the company\"",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return misuse(cmd, "--reason must have a text: it is recorded")
			}
			return c.withKeys(cmd, func(ctx context.Context, keys *apikeys.Manager) error {
				k, err := keys.Revoke(ctx, args[0], reason)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.stdout, "key %s (%s of client %s, actor %s) is revoked\n", k.ID, k.Role, k.Client, k.Actor)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "no reason given", "`why` the key is revoked; recorded")
	return cmd
}

// withKeys runs a command on the keys of the database. Their changes are recorded under the operator's name.
func (c *cli) withKeys(cmd *cobra.Command, work func(ctx context.Context, keys *apikeys.Manager) error) error {
	return c.withOperator(cmd, func(ctx context.Context, n *node) error {
		owner, err := n.pool(eventstore.RoleOwner, 1, "keys")
		if err != nil {
			return err
		}
		return work(ctx, apikeys.NewManager(owner, func(ctx context.Context, command operations.APIKeyCommand) error {
			_, err := n.commands.Run(ctx, systemCommand(operatorName()), func(ctx context.Context, u *domain.UnitOfWork) error {
				return operations.ChangeAPIKey(ctx, u, command)
			})
			return err
		}))
	})
}

var days = regexp.MustCompile(`^([0-9]{1,5})d$`)

// parseDays reads a duration, in days too.
func parseDays(text string) (time.Duration, error) {
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// fieldsOf says what is wrong with values, by the names of their flags.
func fieldsOf(err error) string {
	var refusal *domain.Error
	if !errors.As(err, &refusal) || len(refusal.Fields) == 0 {
		return err.Error()
	}
	said := make([]string, len(refusal.Fields))
	for i, f := range refusal.Fields {
		said[i] = "--" + strings.TrimPrefix(f.Pointer, "/") + " " + f.Detail
	}
	return strings.Join(said, "; ")
}
