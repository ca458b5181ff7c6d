package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// outputFlag is --output of the commands that list something.
type outputFlag struct{ format string }

func (o *outputFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "`format` of the list: table or json")
}

func (o *outputFlag) check(cmd *cobra.Command) error {
	if o.format != "table" && o.format != "json" {
		return misuse(cmd, "--output must be table or json, not %q", o.format)
	}
	return nil
}

// media is the media type of the list.
func (o *outputFlag) media() string {
	if o.format == "json" {
		return "application/json"
	}
	return "text/plain"
}

// list prints items as a JSON array, or as a table with a heading.
func list[T any](w io.Writer, o outputFlag, items []T, heading string, row func(T) string) error {
	if o.format == "json" {
		if items == nil {
			items = []T{}
		}
		return printJSON(w, items)
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, heading)
	for _, item := range items {
		fmt.Fprintln(tw, row(item))
	}
	return tw.Flush()
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
