package manufacturing

import (
	"context"
	"fmt"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/workorder"
)

// CategoryQuality is the category of the holds that OpenQualityHold creates.
const CategoryQuality = "quality"

// CreateHoldCommand asks to stop the work on a work order.
type CreateHoldCommand struct {
	WorkOrderID string `json:"work_order_id"` // as sent: Validate says whether it is a UUID
	Category    string `json:"category"`
	Reason      string `json:"reason"`
	Quantity    *int64 `json:"quantity"`
}

// Validate judges the command's values.
func (c CreateHoldCommand) Validate() []domain.FieldError {
	var v domain.Validator
	c.read(&v)
	return v.Fields()
}

func (c CreateHoldCommand) read(v *domain.Validator) hold.Create {
	create := hold.Create{WorkOrderID: v.ID("/work_order_id", c.WorkOrderID), Category: c.Category, Reason: c.Reason}
	v.Text("/category", c.Category, domain.MaxText)
	v.Text("/reason", c.Reason, domain.MaxNote)
	create.Quantity = v.RequiredCount("/quantity", c.Quantity, 0, domain.MaxCount)
	return create
}

// CreateHold opens a hold; the first open one puts the work order on hold. It refuses with invalid-transition in states
// from which no hold is possible, and with validation-failed for an order that has workorder.MaxOpenHolds.
func CreateHold(ctx context.Context, u *domain.UnitOfWork, cmd CreateHoldCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	return createHold(ctx, u, cmd.read(new(domain.Validator)), workorder.TriggerHold)
}

// createHold opens the hold's stream before the order's, so that the log tells the hold before what follows from it.
func createHold(ctx context.Context, u *domain.UnitOfWork, create hold.Create, trigger workorder.Trigger) error {
	h := domain.OpenNew(u, hold.Aggregate)
	u.Create(h)
	o, err := domain.OpenExisting(ctx, u, workorder.Aggregate, create.WorkOrderID)
	if err != nil {
		return err
	}
	if _, err := o.Execute(workorder.PlaceHold{HoldID: h.ID(), Trigger: trigger, At: u.Now}); err != nil {
		return err
	}
	_, err = h.Execute(create)
	return err
}

// OpenQualityHoldCommand asks for a hold if an inspection failed.
type OpenQualityHoldCommand struct {
	InspectionID domain.ID
	Limit        decimal.Decimal // of the first pass yield, in percent
}

// OpenQualityHold opens a hold over the defective units of a final inspection whose first pass yield is below the limit.
// It leaves everything as it is after any other inspection, and when the work order can't be put on hold in its state. It
// creates a hold each time it is asked: a policy asks under a key of the inspection's event. It refuses with
// validation-failed for an order that has workorder.MaxOpenHolds, which is stopped already.
func OpenQualityHold(ctx context.Context, u *domain.UnitOfWork, cmd OpenQualityHoldCommand) error {
	i, err := domain.OpenExisting(ctx, u, inspection.Aggregate, cmd.InspectionID)
	if err != nil {
		return err
	}
	if err := u.Target(i); err != nil {
		return err
	}
	found := i.State()
	o, err := domain.OpenExisting(ctx, u, workorder.Aggregate, found.WorkOrderID)
	if err != nil {
		return err
	}
	status := o.State().Status
	if !found.FailsBelow(cmd.Limit) || !status.Holdable() && status != workorder.StatusOnHold {
		return nil
	}
	return createHold(ctx, u, hold.Create{
		WorkOrderID: o.ID(), Category: CategoryQuality, Quantity: found.UnitsDefective,
		Reason: fmt.Sprintf("final inspection: %d of %d units are defective", found.UnitsDefective, found.UnitsInspected),
	}, workorder.TriggerQC)
}

// ResumeHoldCommand asks to end a hold.
type ResumeHoldCommand struct {
	HoldID           domain.ID `json:"-"`
	QuantityReleased int64     `json:"quantity_released"`
	QuantityScrapped int64     `json:"quantity_scrapped"`
	Resolution       *string   `json:"resolution"`
}

// Validate judges the command's values.
func (c ResumeHoldCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.Count("/quantity_released", c.QuantityReleased, 0, domain.MaxCount)
	v.Count("/quantity_scrapped", c.QuantityScrapped, 0, domain.MaxCount)
	v.OptionalText("/resolution", c.Resolution, domain.MaxNote)
	return v.Fields()
}

// ResumeHold ends a hold; the last open one returns the work order to where it was before the first. It refuses with
// hold-closed, and at last with validation-failed when the quantities don't add up to the held one.
func ResumeHold(ctx context.Context, u *domain.UnitOfWork, cmd ResumeHoldCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	h, err := domain.OpenExisting(ctx, u, hold.Aggregate, cmd.HoldID)
	if err != nil {
		return err
	}
	o, err := domain.OpenExisting(ctx, u, workorder.Aggregate, h.State().WorkOrderID)
	if err != nil {
		return err
	}
	if err := u.Target(h); err != nil {
		return err
	}
	_, err = h.Execute(hold.Resume{
		QuantityReleased: cmd.QuantityReleased, QuantityScrapped: cmd.QuantityScrapped,
		Resolution: cmd.Resolution, HeldFor: u.Now.Sub(h.Loaded().CreatedAt),
	})
	if err != nil {
		return err
	}
	_, err = o.Execute(workorder.LiftHold{HoldID: h.ID(), At: u.Now})
	return err
}
