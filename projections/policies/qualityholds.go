package policies

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/inspection"
	"annals/eventstore"
	"annals/projections"
)

// QualityHolds is the policy that puts a work order on hold when a final inspection's first pass yield is below a limit.
// It is off unless an operator sets one: nobody's order stops by itself unasked. While it is off, inspections go by and
// are not looked at again when it is turned on.
type QualityHolds struct {
	issuer issuer
	limit  decimal.Decimal
}

// NewQualityHolds makes the policy with a limit of the first pass yield in percent, 0 to 100; 0 turns it off. Without a
// logger it is slog.Default.
func NewQualityHolds(commands eventstore.Runner, limit decimal.Decimal, logger *slog.Logger) (*QualityHolds, error) {
	if limit.IsNegative() || limit.GreaterThan(decimal.NewFromInt(100)) {
		return nil, fmt.Errorf("the limit of quality holds must be from 0 to 100 percent, not %s", limit)
	}
	return &QualityHolds{issuer: newIssuer("quality_holds", commands, logger), limit: limit}, nil
}

// Spec implements projections.PolicyHandler.
func (p *QualityHolds) Spec() projections.Spec {
	return projections.Spec{
		Name: p.issuer.policy, Version: 1, Kind: projections.KindPolicy,
		EventTypes: []string{inspection.Recorded{}.EventType()},
	}
}

// Handle implements projections.PolicyHandler. An order that can't be put on hold any more stays as it is, and also when
// the event comes again.
func (p *QualityHolds) Handle(ctx context.Context, page projections.Page) error {
	for _, e := range page.Events {
		recorded, ok := e.Payload.(inspection.Recorded)
		if !ok || !inspection.Inspection(recorded).FailsBelow(p.limit) {
			continue
		}
		cmd := manufacturing.OpenQualityHoldCommand{InspectionID: e.AggregateID, Limit: p.limit}
		err := p.issuer.once(ctx, e, e.EventID.String(), func(ctx context.Context, u *domain.UnitOfWork) error {
			return manufacturing.OpenQualityHold(ctx, u, cmd)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
