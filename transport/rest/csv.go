package rest

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// auditColumns are the fields of the audit log in CSV, in the order of writeAuditRecord.
var auditColumns = []string{
	"event_type", "event_id", "occurred_at", "actor_id", "aggregate_type", "aggregate_id", "event_data", "position", "client_id",
	"recorded_at", "correlation_id", "causation_id", "request_id",
}

// writeAuditRecord adds a row of the audit log as a line of CSV.
func writeAuditRecord(l *lines, v auditView) error {
	l.record(v.EventType, v.EventID.String(), timeText(v.OccurredAt), v.ActorID, v.AggregateType, v.AggregateID.String(),
		string(v.EventData), strconv.FormatInt(v.Position, 10), v.ClientID, timeText(v.RecordedAt), v.CorrelationID,
		v.CausationID, v.RequestID)
	return l.written()
}

func timeText(t timestamp) string {
	return strings.Trim(string(appendTime(nil, time.Time(t))), `"`)
}

// record adds a line of CSV.
func (l *lines) record(cells ...string) { appendRecord(&l.buffer, cells...) }

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
