package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
)

// tailInterval is how often a tail that has caught up looks for more.
const tailInterval = 200 * time.Millisecond

func (c *cli) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Read the event log",
		Long:    "Reads the event log. Who reads what, and why, is recorded before anything is shown: the database must take writes.",
		Example: "  annals events tail\n  annals events export --client acme > events.ndjson\n  annals events show 42",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.eventsTailCommand(), c.eventsExportCommand(), c.eventsShowCommand(), c.eventsStreamCommand())
	return cmd
}

// eventSelection are the flags that select events.
type eventSelection struct {
	client, aggregateType, aggregateID, actor string
	types                                     []string
	after                                     int64
	reason                                    reasonFlag
}

func (s *eventSelection) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.client, "client", eventstore.AllClients, "events of one `client`; * means all")
	flags.StringSliceVar(&s.types, "event-type", nil, "events of these `types`, separated by commas")
	flags.StringVar(&s.aggregateType, "aggregate-type", "", "events of one aggregate `type`")
	flags.StringVar(&s.aggregateID, "aggregate-id", "", "events of one aggregate")
	flags.StringVar(&s.actor, "actor", "", "events of one `actor`")
	flags.Int64Var(&s.after, "after", 0, "events after this `position`")
	s.reason.register(cmd)
}

func (s *eventSelection) filter(cmd *cobra.Command) (eventstore.EventFilter, error) {
	f := eventstore.EventFilter{
		Client: s.client, EventTypes: s.types, AggregateType: s.aggregateType, ActorID: s.actor,
	}
	if s.client == "" {
		return f, misuse(cmd, "--client must not be empty")
	}
	if s.after < 0 {
		return f, misuse(cmd, "--after must be 0 or more")
	}
	if s.aggregateID != "" {
		id, err := domain.ParseID(s.aggregateID)
		if err != nil {
			return f, misuse(cmd, "--aggregate-id %q: %v", s.aggregateID, err)
		}
		f.AggregateID = &id
	}
	return f, nil
}

func (c *cli) eventsTailCommand() *cobra.Command {
	var selection eventSelection
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show events as they are recorded, until interrupted",
		Long: `Shows the events that are recorded from now on, until Ctrl-C. With --after it begins after that position, so that
--after 0 shows the whole log first. --output json prints one envelope a line.`,
		Example: "  annals events tail\n  annals events tail --after 0 --event-type order.created --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := selection.filter(cmd)
			if err == nil {
				err = output.check(cmd)
			}
			if err != nil {
				return err
			}
			return c.withReading(cmd, selection.client, output.media(), &selection.reason, func(ctx context.Context, r *reading) error {
				after := selection.after
				if !cmd.Flags().Changed("after") {
					if after, err = r.reader.Head(ctx); err != nil {
						return err
					}
				}
				err := r.export(ctx, after, nil, func(d *operations.Delivered) error {
					return c.tail(ctx, r.reader, filter, after, output, d)
				})
				if ctx.Err() != nil && errors.Is(err, context.Canceled) {
					return nil // Ctrl-C is how a tail ends
				}
				return err
			})
		},
	}
	selection.register(cmd)
	output.register(cmd)
	return cmd
}

func (c *cli) tail(
	ctx context.Context, reader *eventstore.Reader, filter eventstore.EventFilter, after int64, output outputFlag, d *operations.Delivered,
) error {
	write := c.writeEventLine
	if output.format == "json" {
		write = c.writeEventJSON
	}
	for {
		page, err := reader.Page(ctx, filter, after, 500)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := write(e); err != nil {
				return err
			}
			d.Add(1, e.Position, e.Position)
		}
		if after = page.NextAfter; after < page.Head {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tailInterval):
		}
	}
}

func (c *cli) writeEventLine(e eventstore.Envelope) error {
	_, err := fmt.Fprintf(c.stdout, "%8d  %s  %-28s %s/%d  %s  %s  %s\n", e.Position, e.OccurredAt.Format(time.RFC3339),
		e.EventType, e.AggregateID, e.AggregateVersion, e.ClientID, e.ActorID, e.Data)
	return err
}

func (c *cli) writeEventJSON(e eventstore.Envelope) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s\n", line)
	return err
}

func (c *cli) eventsExportCommand() *cobra.Command {
	var selection eventSelection
	var until int64
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write events as one JSON envelope a line",
		Long:    "Writes the selected events, up to the head of the log at the start, as newline-delimited JSON in constant memory.",
		Example: "  annals events export > events.ndjson\n  annals events export --client acme --after 1000 --until 2000",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := selection.filter(cmd)
			if err != nil {
				return err
			}
			if until < 0 {
				return misuse(cmd, "--until must be a position")
			}
			return c.withReading(cmd, selection.client, "application/x-ndjson", &selection.reason, func(ctx context.Context, r *reading) error {
				upTo, err := r.reader.Head(ctx)
				if err != nil {
					return err
				}
				if until > 0 {
					upTo = min(until, upTo)
				}
				return r.export(ctx, selection.after, &upTo, func(d *operations.Delivered) error {
					return c.exportEvents(ctx, r.reader, filter, selection.after, upTo, d)
				})
			})
		},
	}
	selection.register(cmd)
	cmd.Flags().Int64Var(&until, "until", 0, "last `position` to write (default: the head)")
	return cmd
}

func (c *cli) exportEvents(
	ctx context.Context, reader *eventstore.Reader, filter eventstore.EventFilter, after, upTo int64, d *operations.Delivered,
) error {
	if upTo <= after {
		return nil
	}
	out := bufio.NewWriterSize(c.stdout, 1<<16)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := reader.Scan(ctx, filter, after, upTo, func(e eventstore.Envelope) error {
		d.Add(1, e.Position, e.Position)
		return enc.Encode(e)
	}); err != nil {
		return err
	}
	return out.Flush()
}

func (c *cli) eventsShowCommand() *cobra.Command {
	var why reasonFlag
	cmd := &cobra.Command{
		Use:     "show POSITION",
		Short:   "Show one event",
		Example: "  annals events show 42",
		Args:    exactArgs("POSITION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			position, err := positionArg(cmd, args[0])
			if err != nil {
				return err
			}
			return c.withReading(cmd, eventstore.AllClients, "application/json", &why, func(ctx context.Context, r *reading) error {
				e, err := r.reader.Event(ctx, eventstore.AllClients, position)
				if err != nil {
					return plainRefusal(err)
				}
				if err := r.record(ctx, e); err != nil {
					return err
				}
				return printJSON(c.stdout, e)
			})
		},
	}
	why.register(cmd)
	return cmd
}

func (c *cli) eventsStreamCommand() *cobra.Command {
	var output outputFlag
	var why reasonFlag
	cmd := &cobra.Command{
		Use:     "stream TYPE ID",
		Short:   "Show the events of one aggregate",
		Example: "  annals events stream product 0198a5c2-7b1e-7000-8000-000000000001\n  annals events stream cart ID --output json",
		Args:    exactArgs("TYPE", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := domain.ParseID(args[1])
			if err != nil {
				return misuse(cmd, "%q is %v", args[1], err)
			}
			if err := output.check(cmd); err != nil {
				return err
			}
			return c.withReading(cmd, eventstore.AllClients, output.media(), &why, func(ctx context.Context, r *reading) error {
				var all []eventstore.Envelope
				for more, after := true, int64(0); more; {
					page, err := r.reader.Stream(ctx, eventstore.AllClients, args[0], id, after, 500)
					if err != nil {
						return plainRefusal(err)
					}
					all = append(all, page.Events...)
					if more = page.More; more {
						after = page.Events[len(page.Events)-1].AggregateVersion
					}
				}
				if err := r.record(ctx, all...); err != nil {
					return err
				}
				return list(c.stdout, output, all, "VERSION\tPOSITION\tOCCURRED\tTYPE\tACTOR\tDATA", func(e eventstore.Envelope) string {
					return fmt.Sprintf("%d\t%d\t%s\t%s\t%s\t%s", e.AggregateVersion, e.Position,
						e.OccurredAt.Format(time.RFC3339), e.EventType, e.ActorID, e.Data)
				})
			})
		},
	}
	output.register(cmd)
	why.register(cmd)
	return cmd
}

// plainRefusal gives a refusal's own words, without the path on which it came.
func plainRefusal(err error) error {
	var refusal *domain.Error
	if errors.As(err, &refusal) {
		return errors.New(refusal.Detail)
	}
	return err
}
