package projections

import (
	"fmt"
	"reflect"
	"runtime"
	"sync"

	gojson "github.com/goccy/go-json"

	"annals/domain"
)

// Decoder turns recorded events into today's types. It is safe for concurrent use.
//
// Events, upcast to today's schema version, are read by go-json, which takes less than half of encoding/json's time, and
// decoding decides how fast pages and rebuilds are. Every event that can't be upcast or that go-json refuses goes through
// the registry: a failure is always the registry's. A fuzz test holds the two against each other.
type Decoder struct {
	registry *domain.Registry
	known    map[string]knownType
}

// knownType is an event type that go-json can read.
type knownType struct {
	domain.EventDefinition
	goType reflect.Type
}

// NewDecoder makes a decoder over the program's codec.
func NewDecoder(registry *domain.Registry) *Decoder {
	d := &Decoder{registry: registry, known: make(map[string]knownType)}
	for _, eventType := range registry.EventTypes() {
		definition, _ := registry.EventDefinition(eventType)
		if t := reflect.TypeOf(definition.Zero()); t.Kind() == reflect.Struct {
			d.known[eventType] = knownType{definition, t}
		}
	}
	return d
}

// parallelDecode is how many events are worth a second goroutine.
const parallelDecode = 256

// Decode fills in the payloads for a subscriber, in order. On an error it gives the number of events before the one that
// can't be decoded; those are complete. For a Raw subscriber there is nothing to do.
func (d *Decoder) Decode(spec Spec, events []Event) (complete int, err error) {
	if spec.Raw {
		return len(events), nil
	}
	if len(events) < parallelDecode || runtime.GOMAXPROCS(0) == 1 {
		return d.decodeAll(events)
	}
	middle := len(events) / 2
	var rest int
	var restErr error
	var wg sync.WaitGroup
	wg.Go(func() { rest, restErr = d.decodeAll(events[middle:]) })
	complete, err = d.decodeAll(events[:middle])
	wg.Wait()
	if err != nil {
		return complete, err
	}
	return middle + rest, restErr
}

func (d *Decoder) decodeAll(events []Event) (complete int, err error) {
	defer func() { // an upcaster's panic is the event's failure, as an error is
		if r := recover(); r != nil {
			err = fmt.Errorf("position %d: %w", events[complete].Position, &PanicError{Value: r})
		}
	}()
	for complete < len(events) {
		e := &events[complete]
		if e.Payload, err = d.DecodeEvent(e); err != nil {
			return complete, fmt.Errorf("position %d: %w", e.Position, err)
		}
		complete++
	}
	return complete, nil
}

// DecodeEvent gives the payload of one event in today's type. Its error is the registry's.
func (d *Decoder) DecodeEvent(e *Event) (domain.Event, error) {
	if t, ok := d.known[e.EventType]; ok {
		if data, err := t.Upcast(e.SchemaVersion, e.Data); err == nil {
			payload := reflect.New(t.goType)
			if gojson.Unmarshal(data, payload.Interface()) == nil {
				return payload.Elem().Interface().(domain.Event), nil
			}
		}
	}
	return d.registry.Decode(e.EventType, e.SchemaVersion, e.Data)
}
