package kpi

import (
	"slices"

	"annals/domain"
)

// Name is a key figure.
type Name string

// The key figures that can be watched.
const (
	Efficiency   Name = "efficiency"
	Performance  Name = "performance"
	Availability Name = "availability"
	QualityRate  Name = "quality_rate"
	OEE          Name = "oee"
	PPM          Name = "ppm"
	DPMO         Name = "dpmo"
	FPY          Name = "fpy"
	RTY          Name = "rty"
	OTD          Name = "otd"
)

// Names lists the key figures in the order of the API.
func Names() []Name {
	return []Name{Efficiency, Performance, Availability, QualityRate, OEE, PPM, DPMO, FPY, RTY, OTD}
}

// Known reports whether there is such a key figure.
func (n Name) Known() bool { return slices.Contains(Names(), n) }

// ByLine reports whether the figure exists for a line: those that production entries are the authority of do. An
// inspection or a delivery belongs to no line and no shift.
func (n Name) ByLine() bool {
	return slices.Contains([]Name{Efficiency, Performance, Availability, QualityRate, OEE}, n)
}

// Direction says on which side of its limit a figure should stay.
type Direction string

// The directions of a threshold. The limit itself is allowed.
const (
	Min Direction = "min"
	Max Direction = "max"
)

// Period is the span of time over which a threshold judges a figure.
type Period string

// The periods of a threshold.
const (
	PeriodDay  Period = "day"
	PeriodWeek Period = "week" // of ISO 8601
)

// GroupBy is the grouping that has one group per period.
func (p Period) GroupBy() GroupBy { return GroupBy(p) }

// thresholdNamespace is the namespace of threshold ids. It is part of every id and never changes.
const thresholdNamespace = "7f0e5a3c-4c55-5d0b-9a0a-6b6d0c1b7c11"

// ThresholdID is the stream of a client's threshold for a figure and a line, nil for all lines: their UUIDv5. A zero byte,
// which none of the parts can contain, separates them.
func ThresholdID(client string, name Name, line *string) domain.ID {
	key := client + "\x00" + string(name) + "\x00"
	if line != nil {
		key += *line
	}
	return domain.NameID(domain.MustParseID(thresholdNamespace), key)
}
