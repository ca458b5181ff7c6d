// Package manufacturing holds the use cases over work orders, production entries, inspections, holds and thresholds. Each
// takes a unit of work, judges its command in the order values, existence, precondition, status, other conditions,
// comparisons with stored values, and collects the events of all streams it changes; whoever called it appends them at
// once. A refusal is a *domain.Error and leaves nothing behind.
package manufacturing

import (
	"annals/domain"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
)

// ClaimNumber is the kind of the unique claim on a work order's number.
const ClaimNumber = "work_order.number"

// Definitions registers every aggregate and event of the context.
func Definitions() []domain.Definition {
	return []domain.Definition{
		workorder.Definition(), production.Definition(), inspection.Definition(), hold.Definition(), kpi.Definition(),
	}
}

// names gives the text of names, for the validator.
func names[T ~string](values []T) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return texts
}
