package projections

import (
	"fmt"

	"annals/domain"
)

// Decoder turns recorded events into today's types. It is safe for concurrent use.
type Decoder struct {
	registry *domain.Registry
}

// NewDecoder makes a decoder over the program's codec.
func NewDecoder(registry *domain.Registry) *Decoder { return &Decoder{registry: registry} }

// Decode fills in the payloads for a subscriber, in order. On an error it gives the number of events before the one that
// can't be decoded; those are complete. For a Raw subscriber there is nothing to do.
func (d *Decoder) Decode(spec Spec, events []Event) (complete int, err error) {
	if spec.Raw {
		return len(events), nil
	}
	defer func() { // an upcaster's panic is the event's failure, as an error is
		if r := recover(); r != nil {
			err = fmt.Errorf("position %d: %w", events[complete].Position, &PanicError{Value: r})
		}
	}()
	for complete < len(events) {
		e := &events[complete]
		if e.Payload, err = d.registry.Decode(e.EventType, e.SchemaVersion, e.Data); err != nil {
			return complete, fmt.Errorf("position %d: %w", e.Position, err)
		}
		complete++
	}
	return complete, nil
}
