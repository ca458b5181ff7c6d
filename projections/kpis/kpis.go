// Package kpis is the read model of the key figures: exact sums per day, line, shift and work order, from which the
// figures of every grouping and range are computed when they are asked for.
package kpis

import (
	_ "embed"
	"fmt"

	"annals/domain"
	"annals/domain/manufacturing"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
	"annals/projections"
)

//go:embed ddl.sql
var ddl string

const table = "kpis"

// cell is a row of the read model. Where everything that counted in it was corrected away its sums are zero: the row
// stays, because its position tells what was applied, and counts in no group.
type cell struct {
	ClientID  string      `db:"client_id,key"`
	Day       domain.Date `db:"day,key,type=date"`
	Line      string      `db:"line,key"`
	Shift     string      `db:"shift,key"`
	WorkOrder domain.ID   `db:"work_order_id,key"`
	sums
	LastPosition int64 `db:"last_position"`
}

// key is a cell's key.
type key struct {
	Client    string
	Day       domain.Date
	Line      string
	Shift     string
	WorkOrder domain.ID
}

// Spec identifies the read model.
func Spec() projections.Spec {
	return projections.Spec{
		Name: "kpis", Version: 1, Kind: projections.KindReadModel, DDL: ddl,
		EventTypes: []string{
			production.Created{}.EventType(), production.Corrected{}.EventType(),
			inspection.Recorded{}.EventType(), workorder.StatusChanged{}.EventType(),
		},
	}
}

// New makes the read model's projector.
func New() projections.Bulk {
	return projections.MustFold(projections.FoldConfig[key, cell]{Spec: Spec(), Table: table, Keys: keys, Step: step})
}

// keys gives the cells in which an event counts: a correction may take an entry from one to another.
func keys(e projections.Event, list []key) []key {
	from := len(list)
	for _, c := range manufacturing.Contributions(e.AggregateID, e.Payload) {
		k := keyOf(e.ClientID, c.Cell)
		if len(list) == from || list[from] != k {
			list = append(list, k)
		}
	}
	return list
}

func keyOf(client string, c kpi.Cell) key {
	return key{Client: client, Day: c.Day, Line: c.Line, Shift: c.Shift, WorkOrder: c.WorkOrder}
}

func step(k key, row *cell, e projections.Event) (projections.Outcome, error) {
	total := row.toKPI()
	for _, c := range manufacturing.Contributions(e.AggregateID, e.Payload) {
		if keyOf(e.ClientID, c.Cell) == k {
			total = total.Plus(c.Sums)
		}
	}
	if total.Entries < 0 {
		return projections.Keep, fmt.Errorf("%s takes away an entry that doesn't count on %s", e.EventType, k.Day)
	}
	row.sums = sumsOf(total)
	return projections.Write, nil
}
