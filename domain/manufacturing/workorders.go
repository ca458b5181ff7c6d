package manufacturing

import (
	"context"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/workorder"
)

type workOrderStream = domain.Stream[workorder.State, workorder.Command, workorder.Event]

// CreateWorkOrderCommand asks for a new work order. Without a workflow it follows the standard one.
type CreateWorkOrderCommand struct {
	Number              string  `json:"number"`
	ProductCode         string  `json:"product_code"`
	CustomerName        *string `json:"customer_name"`
	QuantityOrdered     *int64  `json:"quantity_ordered"`
	ReceivedOn          string  `json:"received_on"`
	DueOn               string  `json:"due_on"`
	IdealCycleTimeHours *string `json:"ideal_cycle_time_hours"`
	Workflow            *string `json:"workflow"`
	CloseOnShip         bool    `json:"close_on_ship"`
}

// Validate judges the command's values.
func (c CreateWorkOrderCommand) Validate() []domain.FieldError {
	var v domain.Validator
	c.read(&v)
	return v.Fields()
}

func (c CreateWorkOrderCommand) read(v *domain.Validator) workorder.Create {
	v.Text("/number", c.Number, domain.MaxCode)
	v.Text("/product_code", c.ProductCode, domain.MaxText)
	v.OptionalText("/customer_name", c.CustomerName, domain.MaxText)
	create := workorder.Create{
		Number: c.Number, ProductCode: c.ProductCode, CustomerName: domain.PersonalPointer(c.CustomerName),
		QuantityOrdered:     v.RequiredCount("/quantity_ordered", c.QuantityOrdered, 0, domain.MaxCount),
		ReceivedOn:          v.Date("/received_on", c.ReceivedOn),
		DueOn:               v.Date("/due_on", c.DueOn),
		IdealCycleTimeHours: optionalHours(v, "/ideal_cycle_time_hours", c.IdealCycleTimeHours),
		Workflow:            workorder.WorkflowStandard,
		CloseOnShip:         c.CloseOnShip,
	}
	if c.Workflow != nil {
		v.OneOf("/workflow", *c.Workflow, names(workorder.Workflows())...)
		create.Workflow = workorder.Workflow(*c.Workflow)
	}
	return create
}

// optionalHours is the validator's Hours for a member that may be absent.
func optionalHours(v *domain.Validator, pointer string, value *string) *decimal.Decimal {
	if value == nil {
		return nil
	}
	hours := v.Hours(pointer, *value)
	return &hours
}

// CreateWorkOrder makes a work order exist. It refuses with duplicate-number when another work order of the client has
// the number.
func CreateWorkOrder(_ context.Context, u *domain.UnitOfWork, cmd CreateWorkOrderCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	o := domain.OpenNew(u, workorder.Aggregate)
	u.Create(o)
	u.Claim(ClaimNumber, cmd.Number, o.ID(), domain.Refuse(domain.CodeDuplicateNumber,
		"another work order has the number %q", cmd.Number))
	_, err := o.Execute(cmd.read(new(domain.Validator)))
	return err
}

// TransitionWorkOrderCommand asks to move a work order to another state.
type TransitionWorkOrderCommand struct {
	WorkOrderID domain.ID `json:"-"`
	To          string    `json:"to"`
	Notes       *string   `json:"notes"`
}

// Validate judges the command's values: any state of a work order can be asked for, also those that only holds lead to.
func (c TransitionWorkOrderCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.OneOf("/to", c.To, names(workorder.Statuses())...)
	v.OptionalText("/notes", c.Notes, domain.MaxNote)
	return v.Fields()
}

// TransitionWorkOrder moves a work order along its workflow. It refuses with invalid-transition, and for a transition
// that the workflow has, with output-required and qc-approval-required.
func TransitionWorkOrder(ctx context.Context, u *domain.UnitOfWork, cmd TransitionWorkOrderCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	o, err := targetWorkOrder(ctx, u, cmd.WorkOrderID)
	if err != nil {
		return err
	}
	_, err = o.Execute(workorder.Transition{To: workorder.Status(cmd.To), Notes: cmd.Notes, At: u.Now})
	return err
}

// CloseAfterShippingCommand asks to close a shipped work order that was created to close itself.
type CloseAfterShippingCommand struct {
	WorkOrderID domain.ID
}

// CloseAfterShipping closes a work order that was created with close_on_ship and is shipped. It leaves every other order
// as it is, so that a policy can ask at any time and more than once.
func CloseAfterShipping(ctx context.Context, u *domain.UnitOfWork, cmd CloseAfterShippingCommand) error {
	o, err := targetWorkOrder(ctx, u, cmd.WorkOrderID)
	if err != nil {
		return err
	}
	_, err = o.Execute(workorder.CloseAfterShipping{At: u.Now})
	return err
}

// ApproveQCCommand gives the approval of quality control, with the inspection it relies on if there is one.
type ApproveQCCommand struct {
	WorkOrderID  domain.ID `json:"-"`
	InspectionID *string   `json:"inspection_id"` // as sent: Validate says whether it is a UUID
	Notes        *string   `json:"notes"`
}

// Validate judges the command's values.
func (c ApproveQCCommand) Validate() []domain.FieldError {
	var v domain.Validator
	if c.InspectionID != nil {
		v.ID("/inspection_id", *c.InspectionID)
	}
	v.OptionalText("/notes", c.Notes, domain.MaxNote)
	return v.Fields()
}

// ApproveQC records the approval of quality control. An approved order stays as it is. It refuses with invalid-transition
// once the order is shipped or in a terminal state, and at last with validation-failed when the inspection is of another
// work order.
func ApproveQC(ctx context.Context, u *domain.UnitOfWork, cmd ApproveQCCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	approve := workorder.ApproveQC{Notes: cmd.Notes}
	o, err := domain.OpenExisting(ctx, u, workorder.Aggregate, cmd.WorkOrderID)
	if err != nil {
		return err
	}
	inspectedOrder := o.ID()
	if cmd.InspectionID != nil {
		if approve.InspectionID, err = domain.ParseID(*cmd.InspectionID); err != nil {
			return err
		}
		i, err := domain.OpenExisting(ctx, u, inspection.Aggregate, approve.InspectionID)
		if err != nil {
			return err
		}
		inspectedOrder = i.State().WorkOrderID
	}
	if err := u.Target(o); err != nil {
		return err
	}
	changed, err := o.Execute(approve)
	if changed && inspectedOrder != o.ID() {
		return domain.Invalid("/inspection_id", "is an inspection of another work order")
	}
	return err
}

// targetWorkOrder opens the work order a command is about and checks the precondition.
func targetWorkOrder(ctx context.Context, u *domain.UnitOfWork, id domain.ID) (*workOrderStream, error) {
	o, err := domain.OpenExisting(ctx, u, workorder.Aggregate, id)
	if err != nil {
		return nil, err
	}
	return o, u.Target(o)
}
