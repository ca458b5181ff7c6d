package main

import (
	"context"
	"fmt"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/manufacturing"
	"annals/domain/notifications"
	"annals/domain/operations"
	"annals/domain/privacy"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/auditlog"
	"annals/projections/carts"
	"annals/projections/holds"
	"annals/projections/inspections"
	"annals/projections/kpialerts"
	"annals/projections/kpis"
	"annals/projections/kpithresholds"
	"annals/projections/orders"
	"annals/projections/policies"
	"annals/projections/productionentries"
	"annals/projections/products"
	"annals/projections/sealer"
	"annals/projections/webhooks"
	"annals/projections/workorders"
)

// newRegistry knows every aggregate and event of this program.
func newRegistry() (*domain.Registry, error) {
	var definitions []domain.Definition
	definitions = append(definitions, commerce.Definitions()...)
	definitions = append(definitions, manufacturing.Definitions()...)
	definitions = append(definitions, notifications.Definitions()...)
	definitions = append(definitions, operations.Definitions()...)
	definitions = append(definitions, privacy.Definitions()...)
	return domain.NewRegistry(definitions...)
}

// readModels lists every read model. A new one is a line here.
func readModels() []projections.Projector {
	return []projections.Projector{
		auditlog.New(),
		products.New(),
		carts.New(),
		orders.New(),
		workorders.New(),
		productionentries.New(),
		inspections.New(),
		holds.New(),
		kpis.New(),
		kpithresholds.New(),
		kpialerts.New(),
		webhooks.New(),
	}
}

// projectors lists what follows the log in transactions: the read models and the sealer.
func projectors() []projections.Projector { return append(readModels(), sealer.New()) }

// policies lists the policies that events drive.
func (n *node) policies(cfg *serveConfig) ([]projections.PolicyHandler, error) {
	qualityHolds, err := policies.NewQualityHolds(n.commands, cfg.qualityHoldLimit, n.logger)
	if err != nil {
		return nil, err
	}
	return []projections.PolicyHandler{
		policies.NewCloseOnShip(n.commands, n.logger),
		policies.NewKPIWatch(policies.KPIWatchConfig{
			Figures: kpis.NewQueries(n.store.Tenants), Thresholds: kpithresholds.NewQueries(n.store.Tenants),
			Commands: n.commands, WaitFor: n.group.WaitFor, Logger: n.logger,
		}),
		qualityHolds,
		n.notifications(),
	}, nil
}

// timers lists the policies that time drives.
func (n *node) timers(cfg *serveConfig) []projections.Timer {
	return []projections.Timer{
		policies.NewCartExpiry(policies.CartExpiryConfig{
			Carts: carts.NewQueries(n.store.Tenants), Commands: n.commands, Head: n.store.Reader.Head,
			WaitFor: n.group.WaitFor, Lifetime: cfg.cartLifetime, Every: cfg.cartSweep, Logger: n.logger,
		}),
	}
}

// systemCommand is a command of the system itself, under its reserved client.
func systemCommand(actor string) eventstore.Command {
	return eventstore.Command{Name: "operation", Client: eventstore.SystemClient, Actor: actor}
}

// auditOperation records what an operator does with a subscriber, before it takes effect.
func (n *node) auditOperation(ctx context.Context, op projections.Operation) error {
	subject := operations.Subject{Name: op.Name, Version: int64(op.Version)}
	var command operations.ProjectionCommand
	switch op.Action {
	case projections.ActionPause:
		command = operations.Pause{Subject: subject}
	case projections.ActionResume:
		command = operations.Resume{Subject: subject}
	case projections.ActionRetry:
		command = operations.RetryFailure{Subject: subject, Position: op.Position}
	case projections.ActionSkip:
		command = operations.SkipFailure{Subject: subject, Position: op.Position, Reason: op.Reason}
	default:
		return fmt.Errorf("an operation %q on %s can't be recorded", op.Action, op.Name)
	}
	_, err := n.commands.Run(ctx, systemCommand(op.Actor), func(ctx context.Context, u *domain.UnitOfWork) error {
		return operations.Operate(ctx, u, command)
	})
	return err
}
