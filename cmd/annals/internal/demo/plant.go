package demo

import (
	"context"
	"fmt"
	"time"
)

const ordersPerScale = 40

var (
	customers  = []string{"Acme", "Globex", "Initech", "Umbrella", "Hooli"}
	lines      = []string{"L1", "L2", "L3"}
	shifts     = []string{"A", "B"}
	inspectors = []string{"q-1", "q-2", "q-3"}
)

// limits gives the story of the key figures' limits.
func (r *run) limits() func(context.Context) error {
	return r.story("limits", "quality-lead").setLimits
}

// plant gives a story for each work order.
func (r *run) plant() []func(context.Context) error {
	var stories []func(context.Context) error
	for n := range r.scaled(ordersPerScale) {
		s := r.story(fmt.Sprintf("work-order-%d", n+1), "planner")
		stories = append(stories, func(ctx context.Context) error { return s.producing(ctx, n) })
	}
	return stories
}

func (s *story) setLimits(ctx context.Context) error {
	for _, limit := range []struct{ kpi, direction, value string }{
		{"ppm", "max", "20000"}, {"quality_rate", "min", "97.00"}, {"oee", "min", "40.00"},
	} {
		body := object{"direction": limit.direction, "limit": limit.value, "period": "day"}
		if _, err := s.command(ctx, "PUT", "/v1/kpi-thresholds/"+limit.kpi, body); err != nil {
			return err
		}
	}
	return nil
}

// producing takes one work order from receipt as far as its fate lets it.
func (s *story) producing(ctx context.Context, n int) error {
	received := s.run.opts.Start.AddDate(0, 0, n%20)
	ordered := s.between(4, 20) * 50
	created, err := s.command(ctx, "POST", "/v1/work-orders", object{
		"number":       fmt.Sprintf("WO-%d-%04d", s.run.opts.Seed, n+1),
		"product_code": fmt.Sprintf("P-%d", n%12+1), "customer_name": s.pick(customers),
		"quantity_ordered": ordered, "received_on": date(received), "due_on": date(received.AddDate(0, 0, s.between(7, 25))),
		"ideal_cycle_time_hours": "0.05", "close_on_ship": s.chance(50),
	})
	if err != nil {
		return err
	}
	order := created.ID
	if s.chance(10) {
		return nil // still waiting
	}
	if err := s.inspect(ctx, order, "incoming", received, s.between(20, 60)); err != nil {
		return err
	}
	for _, to := range []string{"released", "in_progress"} {
		if err := s.transition(ctx, order, to); err != nil {
			return err
		}
	}
	if s.chance(25) {
		if resumed, err := s.holdAndResume(ctx, order); err != nil || !resumed {
			return err // on hold to this day
		}
	}
	return s.finish(ctx, order, received, ordered)
}

// finish records the production days, then completes and ships the order.
func (s *story) finish(ctx context.Context, order string, received time.Time, ordered int) error {
	days := s.between(2, 6)
	for day := range days {
		if err := s.produce(ctx, order, received.AddDate(0, 0, day+1), ordered/days); err != nil {
			return err
		}
	}
	last := received.AddDate(0, 0, days)
	if err := s.inspect(ctx, order, "in_process", last, s.between(50, 100)); err != nil {
		return err
	}
	if s.chance(15) {
		return nil // still in progress
	}
	if err := s.inspect(ctx, order, "final", last, ordered); err != nil {
		return err
	}
	if err := s.transition(ctx, order, "completed"); err != nil {
		return err
	}
	if _, err := s.command(ctx, "POST", "/v1/work-orders/"+order+"/qc-approval", object{"notes": "final inspection passed"}); err != nil {
		return err
	}
	if s.chance(80) {
		return s.transition(ctx, order, "shipped")
	}
	return nil
}

func (s *story) transition(ctx context.Context, order, to string) error {
	_, err := s.command(ctx, "POST", "/v1/work-orders/"+order+"/transitions", object{"to": to})
	return err
}

// holdAndResume holds an order, and mostly lets it go on.
func (s *story) holdAndResume(ctx context.Context, order string) (resumed bool, err error) {
	quantity := s.between(5, 40)
	hold, err := s.command(ctx, "POST", "/v1/holds", object{
		"work_order_id": order, "category": s.pick([]string{"material", "quality", "machine"}),
		"reason": s.pick([]string{"awaiting resin", "surface scratches", "spindle worn"}), "quantity": quantity,
	})
	if err != nil || s.chance(15) {
		return false, err
	}
	scrapped := s.random.IntN(quantity/5 + 1)
	_, err = s.command(ctx, "POST", "/v1/holds/"+hold.ID+"/resume", object{
		"quantity_released": quantity - scrapped, "quantity_scrapped": scrapped, "resolution": "sorted and reworked",
	})
	return err == nil, err
}

// produce records a day's entry, and sometimes corrects it after a recount.
func (s *story) produce(ctx context.Context, order string, day time.Time, units int) error {
	s.actor = "shift-lead"
	made := units + s.between(-units/10, units/10)
	body := object{
		"work_order_id": order, "line": s.pick(lines), "shift": s.pick(shifts), "production_date": date(day),
		"units_produced": made, "defect_count": s.random.IntN(made/25 + 1), "scrap_count": s.random.IntN(made/50 + 1),
		"rework_count": s.random.IntN(5), "run_time_hours": fmt.Sprintf("%d.%d", s.between(6, 8), s.random.IntN(10)),
		"scheduled_hours": "8.5", "downtime_hours": fmt.Sprintf("0.%d", s.random.IntN(10)), "employees_assigned": s.between(1, 3),
	}
	entry, err := s.command(ctx, "POST", "/v1/production-entries", body)
	if err != nil || !s.chance(10) {
		return err
	}
	_, err = s.command(ctx, "POST", "/v1/production-entries/"+entry.ID+"/corrections",
		object{"units_produced": made - s.between(1, 5), "reason": "recount"})
	return err
}

func (s *story) inspect(ctx context.Context, order, stage string, day time.Time, units int) error {
	s.actor = s.pick(inspectors)
	defective := 0
	if s.chance(60) {
		defective = s.random.IntN(units/25 + 1)
	}
	reworked := defective / 2
	_, err := s.command(ctx, "POST", "/v1/quality-inspections", object{
		"work_order_id": order, "stage": stage, "inspected_on": date(day), "units_inspected": units,
		"units_passed": units - defective, "units_defective": defective, "units_reworked": reworked,
		"units_scrapped": defective - reworked, "defect_count": defective + s.random.IntN(3), "inspector": s.actor,
	})
	return err
}

func date(t time.Time) string { return t.Format(time.DateOnly) }
