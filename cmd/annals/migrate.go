package main

import (
	"database/sql"
	"fmt"

	"github.com/spf13/cobra"

	"annals/migrations"
)

func (c *cli) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Apply the database migrations, or show them",
		Long: `Applies the migrations that the database lacks, under a lock: of several processes one migrates, the others wait.
The server does the same when it starts.`,
		Example: "  annals migrate\n  annals migrate --database-url postgres://localhost/annals\n  annals migrate status --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withSQL(cmd, func(db *sql.DB) error {
				applied, err := migrations.Up(cmd.Context(), db)
				if err != nil {
					return err
				}
				for _, name := range applied {
					fmt.Fprintf(c.stdout, "applied %s\n", name)
				}
				if len(applied) == 0 {
					fmt.Fprintln(c.stdout, "the database is up to date")
				}
				return nil
			})
		},
	}
	cmd.AddCommand(c.migrateStatusCommand())
	return cmd
}

func (c *cli) migrateStatusCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show which migrations the database has",
		Example: "  annals migrate status\n  annals migrate status --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.check(cmd); err != nil {
				return err
			}
			return c.withSQL(cmd, func(db *sql.DB) error {
				all, err := migrations.Status(cmd.Context(), db)
				if err != nil {
					return err
				}
				return list(c.stdout, output, all, "VERSION\tNAME\tAPPLIED", func(m migrations.Migration) string {
					return fmt.Sprintf("%d\t%s\t%t", m.Version, m.Name, m.Applied)
				})
			})
		},
	}
	output.register(cmd)
	return cmd
}
