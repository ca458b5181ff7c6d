// Package auditfile writes rows of the audit log as they leave the system: as lines of JSON and as CSV. The API and the
// command line write the same bytes.
package auditfile

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"annals/domain"
	"annals/projections/auditlog"
)

// Row is an entry of the audit log as it is shown.
type Row struct {
	EventType     string          `json:"event_type"`
	EventID       domain.ID       `json:"event_id"`
	OccurredAt    Time            `json:"occurred_at"`
	ActorID       string          `json:"actor_id"`
	AggregateType string          `json:"aggregate_type"`
	AggregateID   domain.ID       `json:"aggregate_id"`
	EventData     json.RawMessage `json:"event_data"`
	Position      int64           `json:"position"`
	ClientID      string          `json:"client_id"`
	RecordedAt    Time            `json:"recorded_at"`
	CorrelationID string          `json:"correlation_id"`
	CausationID   string          `json:"causation_id"`
	RequestID     string          `json:"request_id"`
}

// RowOf shows an entry.
func RowOf(e auditlog.Entry) Row {
	return Row{
		EventType: e.EventType, EventID: e.EventID, OccurredAt: Time(e.OccurredAt), ActorID: e.ActorID,
		AggregateType: e.AggregateType, AggregateID: e.AggregateID, EventData: e.EventData, Position: e.Position,
		ClientID: e.ClientID, RecordedAt: Time(e.RecordedAt), CorrelationID: e.CorrelationID,
		CausationID: e.CausationID, RequestID: e.RequestID,
	}
}

// Time is written as RFC 3339 in UTC, with up to six fraction digits.
type Time time.Time

// String gives the time's text.
func (t Time) String() string { return time.Time(t).UTC().Format("2006-01-02T15:04:05.999999Z") }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// AppendJSON adds the row as a line of JSON.
func (r Row) AppendJSON(b *bytes.Buffer) error {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// AppendHeader adds the line of CSV that names the fields, in the order of AppendCSV.
func AppendHeader(b *bytes.Buffer) {
	appendRecord(b, "event_type", "event_id", "occurred_at", "actor_id", "aggregate_type", "aggregate_id", "event_data", "position",
		"client_id", "recorded_at", "correlation_id", "causation_id", "request_id")
}

// AppendCSV adds the row as a line of CSV, whose cells no spreadsheet takes for formulas.
func (r Row) AppendCSV(b *bytes.Buffer) {
	appendRecord(b, r.EventType, r.EventID.String(), r.OccurredAt.String(), r.ActorID, r.AggregateType, r.AggregateID.String(),
		string(r.EventData), strconv.FormatInt(r.Position, 10), r.ClientID, r.RecordedAt.String(), r.CorrelationID, r.CausationID,
		r.RequestID)
}

// appendRecord adds a record as RFC 4180 describes it. encoding/csv would rewrite line breaks within a cell.
func appendRecord(b *bytes.Buffer, cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		cell = harmless(cell)
		if !strings.ContainsAny(cell, "\",\r\n") && cell != "" && strings.TrimSpace(cell) == cell {
			b.WriteString(cell)
			continue
		}
		b.WriteByte('"')
		b.WriteString(strings.ReplaceAll(cell, `"`, `""`))
		b.WriteByte('"')
	}
	b.WriteString("\r\n")
}

// harmless puts an apostrophe before a cell that a spreadsheet would take for a formula: one that begins with = + - @, their
// full-width forms, a tab, or a line break. A cell that begins with an apostrophe gets another one, so that taking one away
// restores every cell.
func harmless(cell string) string {
	first, _ := utf8.DecodeRuneInString(cell)
	if cell != "" && strings.ContainsRune("=+-@＝＋－＠\t\r\n'", first) {
		return "'" + cell
	}
	return cell
}
