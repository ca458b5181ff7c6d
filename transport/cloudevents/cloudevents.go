// Package cloudevents shows events of the log as CloudEvents 1.0 in the JSON format, the same wherever they leave.
package cloudevents

import (
	"encoding/json"
	"strconv"
	"time"

	"annals/eventstore"
)

// MediaType is that of one event in structured mode.
const MediaType = "application/cloudevents+json"

// Event is an event in the JSON format. Members after Data are extensions; those that begin with c are named by the
// correlation extension.
type Event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`      // the event_id, however often the event is sent
	Source          string          `json:"source"`  // urn:annals:<client>
	Type            string          `json:"type"`    // the event_type
	Subject         string          `json:"subject"` // <aggregate_type>/<aggregate_id>
	Time            string          `json:"time"`    // occurred_at
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
	Position        string          `json:"position"` // a string: CloudEvents' integers have 32 bits
	Version         string          `json:"aggregateversion"`
	SchemaVersion   int             `json:"schemaversion"`
	ClientID        string          `json:"clientid"`
	ActorID         string          `json:"actorid"`
	CorrelationID   string          `json:"correlationid"`
	CausationID     string          `json:"causationid"`
}

// Of shows a recorded event.
func Of(e eventstore.Envelope) Event {
	return Event{
		SpecVersion: "1.0", ID: e.EventID.String(), Source: "urn:annals:" + e.ClientID, Type: e.EventType,
		Subject: e.AggregateType + "/" + e.AggregateID.String(), Time: e.OccurredAt.UTC().Format(time.RFC3339Nano),
		DataContentType: "application/json", Data: e.Data, Position: strconv.FormatInt(e.Position, 10),
		Version: strconv.FormatInt(e.AggregateVersion, 10), SchemaVersion: e.SchemaVersion, ClientID: e.ClientID,
		ActorID: e.ActorID, CorrelationID: e.CorrelationID, CausationID: e.CausationID,
	}
}
