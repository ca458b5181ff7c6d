package policies

import (
	"context"
	"log/slog"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore"
	"annals/projections"
)

// CloseOnShip is the policy that closes work orders which were created to close themselves once they are shipped.
type CloseOnShip struct{ issuer issuer }

// NewCloseOnShip makes the policy. Without a logger it is slog.Default.
func NewCloseOnShip(commands eventstore.Runner, logger *slog.Logger) *CloseOnShip {
	return &CloseOnShip{newIssuer("close_on_ship", commands, logger)}
}

// Spec implements projections.PolicyHandler.
func (p *CloseOnShip) Spec() projections.Spec {
	return projections.Spec{
		Name: p.issuer.policy, Version: 1, Kind: projections.KindPolicy,
		EventTypes: []string{workorder.StatusChanged{}.EventType()},
	}
}

// Handle implements projections.PolicyHandler. Whether the order closes itself is for the order to say.
func (p *CloseOnShip) Handle(ctx context.Context, page projections.Page) error {
	for _, e := range page.Events {
		changed, ok := e.Payload.(workorder.StatusChanged)
		if !ok || changed.ToStatus != workorder.StatusShipped {
			continue
		}
		cmd := manufacturing.CloseAfterShippingCommand{WorkOrderID: e.AggregateID}
		err := p.issuer.onceIfChanging(ctx, e, e.EventID.String(), func(ctx context.Context, u *domain.UnitOfWork) error {
			return manufacturing.CloseAfterShipping(ctx, u, cmd)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
