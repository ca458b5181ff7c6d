package rest

import (
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
	"annals/eventstore"
)

// workOrderView is a work order as the API shows it. Overdue and WIPAgeDays depend on the moment of the question;
// WIPAgeDays is null once the order is shipped or terminal.
type workOrderView struct {
	ID                  domain.ID        `json:"id"`
	Number              string           `json:"number"`
	ProductCode         string           `json:"product_code"`
	CustomerName        *domain.Personal `json:"customer_name"`
	ReceivedOn          domain.Date      `json:"received_on"`
	DueOn               domain.Date      `json:"due_on"`
	IdealCycleTimeHours *decimal.Decimal `json:"ideal_cycle_time_hours"`
	Workflow            string           `json:"workflow"`
	CloseOnShip         bool             `json:"close_on_ship"`
	Status              string           `json:"status"`
	Quantity            quantityView     `json:"quantity"`
	QCApproved          bool             `json:"qc_approved"`
	OpenHolds           int              `json:"open_holds"`
	Overdue             bool             `json:"overdue"`
	WIPAgeDays          *string          `json:"wip_age_days"`
	ShippedAt           *timestamp       `json:"shipped_at"`
	Version             int64            `json:"version"`
	CreatedAt           timestamp        `json:"created_at"`
	UpdatedAt           timestamp        `json:"updated_at"`
}

type quantityView struct {
	Ordered  int64 `json:"ordered"`
	Produced int64 `json:"produced"`
	Defects  int64 `json:"defects"`
	Scrap    int64 `json:"scrap"`
}

func workOrderOf(at eventstore.StateAt, state workorder.State, now time.Time) workOrderView {
	view := workOrderView{
		ID: at.ID, Number: state.Number, ProductCode: state.ProductCode, CustomerName: state.CustomerName,
		ReceivedOn: state.ReceivedOn, DueOn: state.DueOn, IdealCycleTimeHours: state.IdealCycleTimeHours,
		Workflow: string(state.Workflow), CloseOnShip: state.CloseOnShip, Status: string(state.Status),
		Quantity: quantityView{
			Ordered: state.QuantityOrdered, Produced: state.Output.UnitsProduced, Defects: state.Output.Defects,
			Scrap: state.Output.Scrap,
		},
		QCApproved: state.QCApproved, OpenHolds: len(state.OpenHolds), Overdue: state.Overdue(domain.DateOf(now)),
		Version: at.Version, CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
	if state.Status.Open() {
		age := kpi.WIPAge(state.ReceivedOn, state.HeldFor(now), now)
		view.WIPAgeDays = &age
	}
	if !state.ShippedAt.IsZero() {
		shipped := timestamp(state.ShippedAt)
		view.ShippedAt = &shipped
	}
	return view
}

// transitionsView says where a work order stands and what can be asked of it.
type transitionsView struct {
	Status  string             `json:"status"`
	Allowed []workorder.Status `json:"allowed"`

	orderVersion int64
}

// entryView is a production entry as the API shows it, with the values that its corrections left.
type entryView struct {
	ID domain.ID `json:"id"`
	production.Entry
	Corrections int64     `json:"corrections"`
	Version     int64     `json:"version"`
	CreatedAt   timestamp `json:"created_at"`
	UpdatedAt   timestamp `json:"updated_at"`
}

// entryOf counts the corrections by the version: an entry's events are its recording and its corrections.
func entryOf(at eventstore.StateAt, entry production.Entry) entryView {
	return entryView{
		ID: at.ID, Entry: entry, Corrections: at.Version - 1, Version: at.Version,
		CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
}

// inspectionView is a quality inspection as the API shows it.
type inspectionView struct {
	ID domain.ID `json:"id"`
	inspection.Inspection
	Version   int64     `json:"version"`
	CreatedAt timestamp `json:"created_at"`
	UpdatedAt timestamp `json:"updated_at"`
}

func inspectionOf(at eventstore.StateAt, found inspection.Inspection) inspectionView {
	return inspectionView{
		ID: at.ID, Inspection: found, Version: at.Version,
		CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
}

// holdView is a hold as the API shows it. The members from QuantityReleased to ResumedAt are null while it is open, and
// HoldAgeDays, which depends on the moment of the question, afterwards.
type holdView struct {
	ID               domain.ID        `json:"id"`
	WorkOrderID      domain.ID        `json:"work_order_id"`
	Category         string           `json:"category"`
	Reason           string           `json:"reason"`
	Quantity         int64            `json:"quantity"`
	Status           string           `json:"status"`
	QuantityReleased *int64           `json:"quantity_released"`
	QuantityScrapped *int64           `json:"quantity_scrapped"`
	Resolution       *string          `json:"resolution"`
	HeldFor          *decimal.Decimal `json:"held_for"` // hours
	ResumedAt        *timestamp       `json:"resumed_at"`
	HoldAgeDays      *string          `json:"hold_age_days"`
	Version          int64            `json:"version"`
	CreatedAt        timestamp        `json:"created_at"`
	UpdatedAt        timestamp        `json:"updated_at"`
}

func holdOf(at eventstore.StateAt, state hold.State, now time.Time) holdView {
	view := holdView{
		ID: at.ID, WorkOrderID: state.WorkOrderID, Category: state.Category, Reason: state.Reason,
		Quantity: state.Quantity, Status: string(state.Status), Version: at.Version,
		CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
	switch state.Status {
	case hold.StatusOpen:
		age := kpi.HoldAge(at.CreatedAt, now)
		view.HoldAgeDays = &age
	case hold.StatusResumed: // its last event
		view.QuantityReleased, view.QuantityScrapped = &state.QuantityReleased, &state.QuantityScrapped
		view.Resolution, view.HeldFor, view.ResumedAt = state.Resolution, &state.HeldFor, &view.UpdatedAt
	}
	return view
}

func (v workOrderView) version() int64   { return v.Version }
func (v transitionsView) version() int64 { return v.orderVersion }
func (v entryView) version() int64       { return v.Version }
func (v inspectionView) version() int64  { return v.Version }
func (v holdView) version() int64        { return v.Version }
