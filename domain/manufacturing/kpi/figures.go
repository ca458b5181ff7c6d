package kpi

import (
	"math/big"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// Figures are the key figures of a group, in percent unless said otherwise, each with two fraction digits, rounded
// half-up. Those that a line or a shift doesn't have are nil.
type Figures struct {
	Efficiency   string    `json:"efficiency"`
	Performance  string    `json:"performance"`
	Availability string    `json:"availability"`
	QualityRate  string    `json:"quality_rate"`
	OEE          string    `json:"oee"`
	PPM          *string   `json:"ppm"`  // defective units per million
	DPMO         *string   `json:"dpmo"` // defects per million opportunities
	FPY          *string   `json:"fpy"`
	FPYByStage   *StageFPY `json:"fpy_by_stage"`
	RTY          *string   `json:"rty"`
	OTD          *string   `json:"otd"`
	Estimated    bool      `json:"estimated"` // some entry's ideal cycle time is an estimate
}

// StageFPY is the first pass yield of each stage.
type StageFPY struct {
	Incoming  string `json:"incoming"`
	InProcess string `json:"in_process"`
	Final     string `json:"final"`
}

// Compute gives the figures of a group from its sums; complete is GroupBy.Complete of the grouping. A zero denominator
// gives "0.00". Caps and the floor act on the quotient, oee and rty multiply unrounded, capped factors, rounding comes
// last.
func Compute(s Sums, complete bool) Figures {
	performance := capped(ratio(s.EarnedHours, s.RunHours))
	availability := ratio(s.ScheduledHours.Sub(s.DowntimeHours), s.ScheduledHours)
	quality := floored(ratioOf(s.UnitsProduced-s.Defects-s.Scrap, s.UnitsProduced))
	oee := product(product(availability, performance), quality)
	f := Figures{
		Efficiency:   percent(capped(ratio(s.EarnedHours, s.StaffHours))),
		Performance:  percent(performance),
		Availability: percent(availability),
		QualityRate:  percent(quality),
		OEE:          percent(oee),
		Estimated:    s.Estimated > 0,
	}
	if complete {
		f.addInspections(s)
		otd := percent(ratioOf(s.ShippedOnTime, s.Shipped))
		f.OTD = &otd
	}
	return f
}

func (f *Figures) addInspections(s Sums) {
	all := s.allStages()
	ppm := scaled(ratioOf(all.Defective, all.Inspected), 1_000_000)
	dpmo := scaled(ratio(decimal.NewFromInt(s.DefectsFound), s.Opportunities), 1_000_000)
	fpy, rty := percent(all.yield()), percent(rolledYield(s))
	f.PPM, f.DPMO, f.FPY, f.RTY = &ppm, &dpmo, &fpy, &rty
	f.FPYByStage = &StageFPY{
		Incoming:  percent(s.Incoming.yield()),
		InProcess: percent(s.InProcess.yield()),
		Final:     percent(s.Final.yield()),
	}
}

// Figure gives one figure by name; ok is false when the group doesn't have it.
func (f Figures) Figure(name Name) (figure string, ok bool) {
	optional := func(s *string) (string, bool) {
		if s == nil {
			return "", false
		}
		return *s, true
	}
	switch name {
	case Efficiency:
		return f.Efficiency, true
	case Performance:
		return f.Performance, true
	case Availability:
		return f.Availability, true
	case QualityRate:
		return f.QualityRate, true
	case OEE:
		return f.OEE, true
	case PPM:
		return optional(f.PPM)
	case DPMO:
		return optional(f.DPMO)
	case FPY:
		return optional(f.FPY)
	case RTY:
		return optional(f.RTY)
	case OTD:
		return optional(f.OTD)
	default:
		return "", false
	}
}

// HasData reports whether a figure of the sums rests on anything: entries, inspections or deliveries, whichever it is
// computed from. A threshold judges the latest period for which it does.
func (s Sums) HasData(name Name) bool {
	switch name {
	case PPM, DPMO, FPY, RTY:
		return s.Inspections > 0
	case OTD:
		return s.Shipped > 0
	default:
		return s.Entries > 0
	}
}

// WIPAge is the age of an open work order in days: since the beginning of the day on which it was received (UTC), without
// the time on hold.
func WIPAge(receivedOn domain.Date, onHold time.Duration, now time.Time) string {
	return days(now.UnixMicro() - receivedOn.Time().UnixMicro() - onHold.Microseconds())
}

// HoldAge is the age of an open hold in days.
func HoldAge(createdAt, now time.Time) string {
	return days(now.UnixMicro() - createdAt.UnixMicro())
}

// days doesn't take a time.Duration, which ends at 292 years.
func days(microseconds int64) string {
	return fixed(big.NewRat(microseconds, (24 * time.Hour).Microseconds()))
}

// yield is the first pass yield.
func (s StageSums) yield() *big.Rat { return ratioOf(s.Passed, s.Inspected) }

// rolledYield multiplies the yields of the stages that have data, and is 0 when none has.
func rolledYield(s Sums) *big.Rat {
	var rolled *big.Rat
	for _, stage := range []StageSums{s.Incoming, s.InProcess, s.Final} {
		switch {
		case stage.Inspected == 0:
		case rolled == nil:
			rolled = stage.yield()
		default:
			rolled = product(rolled, stage.yield())
		}
	}
	if rolled == nil {
		return new(big.Rat)
	}
	return rolled
}

// ratio divides exactly; by zero it gives zero.
func ratio(numerator, denominator decimal.Decimal) *big.Rat {
	if denominator.IsZero() {
		return new(big.Rat)
	}
	return new(big.Rat).Quo(numerator.Rat(), denominator.Rat())
}

func ratioOf(numerator, denominator int64) *big.Rat {
	return ratio(decimal.NewFromInt(numerator), decimal.NewFromInt(denominator))
}

func product(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }

// capped bounds a quotient at 150 %.
func capped(q *big.Rat) *big.Rat {
	if limit := big.NewRat(3, 2); q.Cmp(limit) > 0 {
		return limit
	}
	return q
}

// floored bounds a quotient at 0.
func floored(q *big.Rat) *big.Rat {
	if q.Sign() < 0 {
		return new(big.Rat)
	}
	return q
}

func percent(q *big.Rat) string { return scaled(q, 100) }

func scaled(q *big.Rat, factor int64) string { return fixed(product(q, big.NewRat(factor, 1))) }

// fixed writes two fraction digits, rounded half-up (away from zero), without a negative zero.
func fixed(q *big.Rat) string {
	text := q.FloatString(2)
	if strings.Trim(text, "-0.") == "" {
		return "0.00"
	}
	return text
}
