package main

import "github.com/spf13/cobra"

// subcommands lists every command. A new one is a line here.
func (c *cli) subcommands() []*cobra.Command {
	return []*cobra.Command{
		c.serveCommand(),
		c.migrateCommand(),
		c.demoCommand(),
		c.replayCommand(),
		c.projectionsCommand(),
		c.keysCommand(),
		c.eventsCommand(),
		c.auditCommand(),
		c.checkCommand(),
		c.subjectsCommand(),
		c.doctorCommand(),
		c.benchCommand(),
		c.versionCommand(),
	}
}
