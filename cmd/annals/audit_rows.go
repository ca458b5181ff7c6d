package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"annals/domain/operations"
	"annals/projections/auditlog"
	"annals/transport/auditfile"
)

// timeFlag is a time in RFC 3339.
type timeFlag time.Time

// String implements pflag.Value.
func (t *timeFlag) String() string {
	if time.Time(*t).IsZero() {
		return ""
	}
	return time.Time(*t).Format(time.RFC3339Nano)
}

// Set implements pflag.Value.
func (t *timeFlag) Set(text string) error {
	parsed, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || parsed.IsZero() {
		return fmt.Errorf("%q is not a time like 2026-01-31T12:00:00Z", text)
	}
	*t = timeFlag(parsed.UTC())
	return nil
}

// Type implements pflag.Value.
func (t *timeFlag) Type() string { return "time" }

// exportRows writes the rows as they were when it began.
func (c *cli) exportRows(ctx context.Context, r *reading, filter auditlog.Filter, s *exportFlags) error {
	head, err := r.reader.Head(ctx)
	if err != nil {
		return err
	}
	rows := auditlog.NewQueries(r.tenants)
	page, err := rows.List(ctx, s.client, filter, math.MaxInt64, 1) // the position alone
	if err != nil {
		return err
	}
	upTo := page.Position
	if upTo < head {
		fmt.Fprintf(c.stderr, "annals: the audit log is at position %d of %d: what came after isn't in this export\n", upTo, head)
	}
	if s.until > 0 {
		upTo = min(upTo, s.until)
	}
	return r.export(ctx, s.after, &upTo, func(d *operations.Delivered) error {
		var out bytes.Buffer
		if s.format == "csv" {
			auditfile.AppendHeader(&out)
		}
		if upTo > s.after {
			err := rows.Export(ctx, s.client, filter, s.after, upTo, func(e auditlog.Entry) error {
				d.Add(1, e.Position, e.Position)
				shown := auditfile.RowOf(e)
				if s.format == "csv" {
					shown.AppendCSV(&out)
				} else if err := shown.AppendJSON(&out); err != nil {
					return err
				}
				if out.Len() < 1<<16 {
					return nil
				}
				_, err := out.WriteTo(c.stdout)
				return err
			})
			if err != nil {
				return err
			}
		}
		_, err := out.WriteTo(c.stdout)
		return err
	})
}
