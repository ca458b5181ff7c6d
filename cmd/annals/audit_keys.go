package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"annals/eventstore/integrity"
)

func (c *cli) auditKeysCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List, export and rotate the keys that sign checkpoints",
		Long: `Lists the keys that sign or have signed the log's checkpoints. Keep the verifier keys where the server can't change them:
with one of them and a checkpoint anybody can find out whether the past was changed.`,
		Example: "  annals audit keys\n  annals audit keys export > annals.vkey\n  annals audit keys rotate --reason \"yearly\"",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listSigningKeys(cmd, output) },
	}
	output.register(cmd)
	cmd.AddCommand(c.listSigningKeysCommand(), c.exportSigningKeyCommand(), c.rotateSigningKeyCommand(), c.generateSigningKeyCommand())
	return cmd
}

func (c *cli) listSigningKeysCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the keys that sign or have signed checkpoints",
		Example: "  annals audit keys list\n  annals audit keys list --output json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listSigningKeys(cmd, output) },
	}
	output.register(cmd)
	return cmd
}

func (c *cli) listSigningKeys(cmd *cobra.Command, output outputFlag) error {
	if err := output.check(cmd); err != nil {
		return err
	}
	return c.withOperator(cmd, func(ctx context.Context, n *node) error {
		keys, err := n.integrity.log.Keys(ctx)
		if err != nil {
			return err
		}
		heading := "ID\tSTATUS\tFROM POSITION\tTO POSITION\tVERIFIER KEY"
		return list(c.stdout, output, keys, heading, func(k integrity.Key) string {
			return strings.Join([]string{k.ID, string(k.Status), optional(k.Position), optional(k.RetiredPosition), k.VerifierKey}, "\t")
		})
	})
}

// optional shows a number that may be missing.
func optional(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

func (c *cli) exportSigningKeyCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the verifier key",
		Long:  "Prints the verifier key with which today's checkpoints are verified, as C2SP signed notes write it.",
		Example: "  annals audit keys export > annals.vkey\n" +
			"  annals audit keys export --all",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				keys, err := n.integrity.log.Keys(ctx)
				if err != nil {
					return err
				}
				keys = slices.DeleteFunc(keys, func(k integrity.Key) bool { return k.Status == integrity.KeyPending })
				if len(keys) == 0 {
					return errors.New("the log has no signing key yet: a server makes it at its first start")
				}
				for _, k := range keys {
					if all || k.Status == integrity.KeyActive {
						fmt.Fprintln(c.stdout, k.VerifierKey)
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "print retired keys too, oldest first, which checkpoints of their time need")
	return cmd
}

func (c *cli) rotateSigningKeyCommand() *cobra.Command {
	var signing, next signingFlags
	var o integrity.RotateOptions
	cmd := &cobra.Command{
		Use:   "rotate --reason TEXT",
		Short: "Replace the key that signs checkpoints",
		Long: `Replaces the key that signs checkpoints. Both keys sign a statement, which is recorded as an event with the reason, and
the first checkpoint afterwards. Running servers go over to the new key by themselves, if they can open it: one that comes from
a file, or is under another passphrase, must be given to them first. If it is interrupted, the old key signs on: repeat the
command, or start a server that has the new key.`,
		Example: "  annals audit keys rotate --reason \"yearly\"\n" +
			"  annals audit keys rotate --reason \"into the vault\" --new-key-file annals.key\n" +
			"  annals audit keys rotate --reason \"passphrase lost\" --old-key-lost --new-passphrase-file passphrase.txt",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Reason == "" {
				return misuse(cmd, "--reason is needed: it is recorded")
			}
			if next.keyFile != "" && next.passphraseFile != "" {
				return misuse(cmd, "--new-key-file and --new-passphrase-file exclude each other")
			}
			secrets, err := c.signingSecrets(cmd, &signing)
			if err != nil {
				return err
			}
			if next.keyFile != "" || next.passphraseFile != "" {
				if o.New, err = next.secrets(""); err != nil {
					return err
				}
			}
			return c.withOperator(cmd, func(ctx context.Context, n *node) error {
				n.newIntegrity(secrets, operatorName())
				key, err := n.integrity.keys.Rotate(ctx, o)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.stdout, "checkpoints are signed by %s from position %s on\n%s\n", key.ID, optional(key.Position), key.VerifierKey)
				return nil
			})
		},
	}
	signing.register(cmd.Flags())
	cmd.Flags().StringVar(&o.Reason, "reason", "", "why the key is replaced; recorded")
	cmd.Flags().BoolVar(&o.OldKeyLost, "old-key-lost", false, "go on without the old key's signature, or without a new key that an interrupted rotation left")
	cmd.Flags().StringVar(&next.keyFile, "new-key-file", "", "`file` with the new private key, which then isn't stored in the database")
	cmd.Flags().StringVar(&next.passphraseFile, "new-passphrase-file", "", "`file` with another passphrase for the new key")
	return cmd
}

func (c *cli) generateSigningKeyCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "generate FILE --name NAME",
		Short: "Write a private key to a file, for --signing-key-file",
		Long: `Writes a private key to a new file that only its owner may read, and prints its verifier key. The name becomes that of a
log whose first key it is. For a log that has one, the name must be the log's: annals audit keys shows it, up to the first plus
sign of a verifier key.`,
		Example: "  annals audit keys generate annals.key --name example.org/annals",
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				return misuse(cmd, "--name is needed")
			}
			private, verifier, err := integrity.GenerateKey(name)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("write the private key: %w", err)
			}
			_, err = f.WriteString(private + "\n")
			if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
				return fmt.Errorf("write the private key: %w", err)
			}
			fmt.Fprintln(c.stdout, verifier)
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the log's `name`, such as example.org/annals")
	return cmd
}
