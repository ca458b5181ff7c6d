package manufacturing

import (
	"context"

	"github.com/shopspring/decimal"

	"annals/domain"
	"annals/domain/manufacturing/kpi"
)

// maxLimit bounds a threshold's limit.
const maxLimit = 1_000_000_000

type thresholdStream = domain.Stream[kpi.State, kpi.Command, kpi.Event]

// SetThresholdCommand asks to watch a key figure, of one line or, without one, of the client's whole production.
type SetThresholdCommand struct {
	KPI       string  `json:"-"`
	Direction string  `json:"direction"`
	Limit     string  `json:"limit"` // 0 to 1,000,000,000, at most four fraction digits
	Period    string  `json:"period"`
	Line      *string `json:"line"`
}

// Validate judges the command's values. Figures that come from inspections and deliveries take no line.
func (c SetThresholdCommand) Validate() []domain.FieldError {
	var v domain.Validator
	c.read(&v)
	return v.Fields()
}

func (c SetThresholdCommand) read(v *domain.Validator) kpi.Set {
	v.OneOf("/direction", c.Direction, string(kpi.Min), string(kpi.Max))
	limit, err := domain.ParseDecimal(c.Limit, 4)
	switch {
	case err != nil:
		v.Fail("/limit", "%s", err)
	case limit.GreaterThan(decimal.NewFromInt(maxLimit)):
		v.Fail("/limit", "must be at most %d", int64(maxLimit))
	}
	v.OneOf("/period", c.Period, string(kpi.PeriodDay), string(kpi.PeriodWeek))
	if name := kpi.Name(c.KPI); c.Line != nil && name.Known() && !name.ByLine() {
		v.Fail("/line", "%s has no figure for a line", name)
	} else {
		v.OptionalText("/line", c.Line, domain.MaxCode)
	}
	return kpi.Set{
		KPI: kpi.Name(c.KPI), Direction: kpi.Direction(c.Direction), Limit: limit, Period: kpi.Period(c.Period),
		Line: c.Line,
	}
}

// SetThreshold watches a key figure, in place of the threshold that the figure and line have. An open alert stays open
// until the figure is judged by the new limit. It refuses with not-found for a figure that there isn't.
func SetThreshold(ctx context.Context, u *domain.UnitOfWork, cmd SetThresholdCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	t, err := openThreshold(ctx, u, kpi.Name(cmd.KPI), cmd.Line)
	if err != nil {
		return err
	}
	if err := u.Target(t); err != nil {
		return err
	}
	_, err = t.Execute(cmd.read(new(domain.Validator)))
	return err
}

// RemoveThresholdCommand asks to watch a key figure no more.
type RemoveThresholdCommand struct {
	KPI  string
	Line *string
}

// RemoveThreshold ends a threshold, and with it an open alert. It refuses with not-found where there is none.
func RemoveThreshold(ctx context.Context, u *domain.UnitOfWork, cmd RemoveThresholdCommand) error {
	t, err := openThreshold(ctx, u, kpi.Name(cmd.KPI), cmd.Line)
	if err != nil {
		return err
	}
	if !t.State().Active {
		return domain.Refuse(domain.CodeNotFound, "there is no such threshold for %s", cmd.KPI)
	}
	if err := u.Target(t); err != nil {
		return err
	}
	_, err = t.Execute(kpi.Remove{})
	return err
}

// EvaluateThresholdCommand reports a key figure to its threshold: Value is the one of Period, the latest that has data,
// with two fraction digits, computed when the read model had applied ComputedAtPosition.
type EvaluateThresholdCommand struct {
	KPI                kpi.Name
	Line               *string
	Value              decimal.Decimal
	Period             string
	ComputedAtPosition int64
}

// EvaluateThreshold states a violation when the figure goes beyond the limit and a recovery when it comes back, once
// each. It leaves everything as it is when the figure stays on its side or the threshold was removed.
func EvaluateThreshold(ctx context.Context, u *domain.UnitOfWork, cmd EvaluateThresholdCommand) error {
	t, err := openThreshold(ctx, u, cmd.KPI, cmd.Line)
	if err != nil {
		return err
	}
	if err := u.Target(t); err != nil {
		return err
	}
	_, err = t.Execute(kpi.Judge{
		Value: cmd.Value, Period: cmd.Period, ComputedAtPosition: cmd.ComputedAtPosition,
	})
	return err
}

// openThreshold reads a threshold, which needn't exist, of a figure, which must.
func openThreshold(ctx context.Context, u *domain.UnitOfWork, name kpi.Name, line *string) (*thresholdStream, error) {
	if !name.Known() {
		return nil, domain.Refuse(domain.CodeNotFound, "there is no key figure %q", name)
	}
	if line != nil && *line == "" { // else it would be the threshold of all lines
		return nil, domain.Refuse(domain.CodeNotFound, "there is no line without a name")
	}
	return domain.Open(ctx, u, kpi.Aggregate, kpi.ThresholdID(u.Client, name, line))
}
