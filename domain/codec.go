package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Upcaster rewrites the raw JSON of an event from one schema version to the next.
type Upcaster func(data []byte) ([]byte, error)

// AddMember is the upcaster for a version that got one more member: older events get it with the given JSON value.
func AddMember(name, value string) Upcaster {
	quoted, member := []byte(`"`+name+`"`), []byte(`,"`+name+`":`+value+`}`)
	return func(data []byte) ([]byte, error) {
		// Most events need no more than the member at their end: a rebuild may read millions of them. What isn't JSON
		// stays that, and is refused when it is decoded.
		if open := bytes.TrimRight(data, " \t\r\n"); len(open) > 2 && open[0] == '{' && open[1] == '"' && open[len(open)-1] == '}' &&
			!bytes.Contains(open, quoted) && bytes.IndexByte(open, '\\') < 0 {
			return slices.Concat(open[:len(open)-1], member), nil
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			return nil, err
		}
		if members == nil {
			return nil, errors.New("the event isn't a JSON object")
		}
		members[name] = json.RawMessage(value)
		return json.Marshal(members)
	}
}

// Steps makes one upcaster of several, for a version that changed more than one thing.
func Steps(steps ...Upcaster) Upcaster {
	return func(data []byte) (_ []byte, err error) {
		for _, step := range steps {
			if data, err = step(data); err != nil {
				return nil, err
			}
		}
		return data, nil
	}
}

// EventDefinition registers one event type: its wire name, today's schema version, how to decode it, and the upcasters
// that lead older versions to today's.
type EventDefinition struct {
	Type          string // the wire name
	SchemaVersion int    // today's; versions count 1, 2, 3, …
	upcasters     []Upcaster
	decode        func([]byte) (Event, error)
	zero          Event
	earlier       []any // a value of what each version before today's carried
	subject       func(e Event, stream ID) Subject
	personal      *PersonalFields // of today's version; nil: none. Found by NewRegistry.
	sealed        bool            // some version carries personal text
}

// DefineEvent registers the event type T. Upcaster i leads version i+1 to version i+2, so that today's schema version is
// one more than the number of upcasters.
func DefineEvent[T Event](upcasters ...Upcaster) EventDefinition {
	var zero T
	return EventDefinition{
		Type:          zero.EventType(),
		SchemaVersion: len(upcasters) + 1,
		upcasters:     upcasters,
		zero:          zero,
		decode: func(data []byte) (Event, error) {
			var e T
			if err := json.Unmarshal(data, &e); err != nil {
				return nil, err
			}
			return e, nil
		},
	}
}

// DefinePersonalEvent is DefineEvent for a type that carries Personal text: subject says whom an event on a stream is
// about. It may name nobody for an event whose personal members are all absent.
func DefinePersonalEvent[T Event](subject func(e T, stream ID) Subject, upcasters ...Upcaster) EventDefinition {
	d := DefineEvent[T](upcasters...)
	d.subject = func(e Event, stream ID) Subject { return subject(e.(T), stream) }
	return d
}

// Personal gives where events of today's version hold personal text; nil: nowhere. It is known of definitions that a
// Registry gives.
func (d EventDefinition) Personal() *PersonalFields { return d.personal }

// Sealed reports whether recorded events of the type, of whatever version, may hold sealed text.
func (d EventDefinition) Sealed() bool { return d.sealed }

// Subject says whom the personal text of an event on a stream is about.
func (d EventDefinition) Subject(e Event, stream ID) Subject {
	if d.subject == nil {
		return Subject{}
	}
	return d.subject(e, stream)
}

// findPersonal looks for personal text in each described version, and holds it against the definition.
func (d *EventDefinition) findPersonal() (err error) {
	if d.personal, err = PersonalFieldsOf(reflect.TypeOf(d.zero)); err != nil {
		return err
	}
	d.sealed = d.personal != nil
	for _, shape := range d.earlier {
		earlier, err := PersonalFieldsOf(reflect.TypeOf(shape))
		if err != nil {
			return err
		}
		d.sealed = d.sealed || earlier != nil
	}
	switch {
	case d.personal != nil && d.subject == nil:
		return errors.New("it carries personal text: DefinePersonalEvent says whom it is about")
	case d.personal == nil && d.subject != nil:
		return errors.New("it is defined as personal, but has no member of type Personal")
	}
	return nil
}

// Upcast rewrites the JSON of a stored event of any known schema version to today's. It fails with ErrUnknownEvent for a
// version that isn't registered; any other error is of the data or an upcaster.
func (d EventDefinition) Upcast(schemaVersion int, data []byte) ([]byte, error) {
	if schemaVersion < 1 || schemaVersion > d.SchemaVersion {
		return nil, fmt.Errorf("%w: %s in schema version %d; this program knows 1 to %d",
			ErrUnknownEvent, d.Type, schemaVersion, d.SchemaVersion)
	}
	for v := schemaVersion; v < d.SchemaVersion; v++ {
		var err error
		if data, err = d.upcasters[v-1](data); err != nil {
			return nil, fmt.Errorf("upcast event %s from version %d: %w", d.Type, v, err)
		}
	}
	return data, nil
}

// Zero gives the event type's zero value, for tools that describe it (JSON Schema).
func (d EventDefinition) Zero() Event { return d.zero }

// Formerly says what the versions before today's carried: a value of a Go type for each, version 1 first. Nothing decodes
// into them; they are for tools that describe events.
func (d EventDefinition) Formerly(shapes ...any) EventDefinition {
	d.earlier = shapes
	return d
}

// Shape gives a value of the Go type that has the members of a version. ok is false for a version that nothing describes.
func (d EventDefinition) Shape(version int) (shape any, ok bool) {
	switch {
	case version == d.SchemaVersion:
		return d.zero, true
	case version < 1 || version > len(d.earlier):
		return nil, false
	default:
		return d.earlier[version-1], true
	}
}

// Definition is all that Annals must know of an aggregate: its rules and its events.
type Definition struct {
	Aggregate AnyAggregate
	Events    []EventDefinition // all of them, at least one
}

// EncodedEvent is an event in the form the log stores.
type EncodedEvent struct {
	Type          string // the wire name
	SchemaVersion int    // that Data is written in
	Data          []byte // JSON, kept byte for byte
}

// ErrUnknownEvent reports an event type or a schema version that isn't registered.
var ErrUnknownEvent = errors.New("unknown event")

// Registry is the codec: it knows every aggregate and every event type. It is built once, at start-up, from explicit
// definitions, and is safe for concurrent use.
type Registry struct {
	aggregates   map[string]Definition
	events       map[string]EventDefinition
	fingerprints map[string]string
}

// NewRegistry builds the codec. It fails on a duplicate aggregate or event, on a name that isn't
// <aggregate_type>.<past_participle>, on an aggregate without events or that doesn't take one of them, and on personal text
// that no definition says the subject of.
func NewRegistry(definitions ...Definition) (*Registry, error) {
	r := &Registry{
		aggregates:   make(map[string]Definition),
		events:       make(map[string]EventDefinition),
		fingerprints: make(map[string]string),
	}
	for _, d := range definitions {
		if err := r.add(d); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Registry) add(d Definition) error {
	name := d.Aggregate.AggregateType()
	if _, dup := r.aggregates[name]; dup {
		return fmt.Errorf("aggregate %s is registered twice", name)
	}
	if len(d.Events) == 0 {
		return fmt.Errorf("aggregate %s has no events", name)
	}
	for _, e := range d.Events {
		if prefix, verb, _ := strings.Cut(e.Type, "."); prefix != name || verb == "" {
			return fmt.Errorf("event %s: the name must be %s.<past_participle>", e.Type, name)
		}
		if len(e.earlier) > len(e.upcasters) {
			return fmt.Errorf("event %s: %d earlier versions are described, there are %d", e.Type, len(e.earlier), len(e.upcasters))
		}
		if _, dup := r.events[e.Type]; dup {
			return fmt.Errorf("event %s is registered twice", e.Type)
		}
		if _, err := d.Aggregate.EvolveState(d.Aggregate.InitialState(), e.zero); err != nil {
			return fmt.Errorf("event %s: %w", e.Type, err)
		}
		if err := e.findPersonal(); err != nil {
			return fmt.Errorf("event %s: %w", e.Type, err)
		}
		r.events[e.Type] = e
	}
	r.aggregates[name] = d
	r.fingerprints[name] = fingerprint(d)
	return nil
}

// fingerprint changes whenever a stored snapshot could no longer equal a fold of the events.
func fingerprint(d Definition) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s/%d\n", d.Aggregate.AggregateType(), d.Aggregate.SnapshotVersion())
	lines := make([]string, 0, len(d.Events))
	for _, e := range d.Events {
		lines = append(lines, fmt.Sprintf("%s/%d\n", e.Type, e.SchemaVersion))
	}
	slices.Sort(lines)
	for _, l := range lines {
		h.Write([]byte(l))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// SnapshotFingerprint identifies the shape of an aggregate's state: its state version and the schema versions of its
// events. A snapshot with another fingerprint is not read. "" stands for a type that isn't registered.
func (r *Registry) SnapshotFingerprint(aggregateType string) string {
	return r.fingerprints[aggregateType]
}

// Aggregate gives the rules of an aggregate type.
func (r *Registry) Aggregate(aggregateType string) (AnyAggregate, bool) {
	d, ok := r.aggregates[aggregateType]
	return d.Aggregate, ok
}

// AggregateTypes lists the registered aggregate types in order.
func (r *Registry) AggregateTypes() []string {
	return slices.Sorted(maps.Keys(r.aggregates))
}

// EventTypes lists the registered event types in order.
func (r *Registry) EventTypes() []string {
	return slices.Sorted(maps.Keys(r.events))
}

// EventDefinition gives the registration of an event type.
func (r *Registry) EventDefinition(eventType string) (EventDefinition, bool) {
	d, ok := r.events[eventType]
	return d, ok
}

// Encode writes an event in today's schema version. It fails with ErrUnknownEvent for a type that isn't registered.
func (r *Registry) Encode(e Event) (EncodedEvent, error) {
	d, ok := r.events[e.EventType()]
	if !ok {
		return EncodedEvent{}, fmt.Errorf("%w: %s", ErrUnknownEvent, e.EventType())
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	// A "<" as six bytes could push an order of 200 lines over the size limit of an event.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return EncodedEvent{}, fmt.Errorf("encode event %s: %w", d.Type, err)
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	return EncodedEvent{Type: d.Type, SchemaVersion: d.SchemaVersion, Data: data}, nil
}

// Decode reads a stored event of any known schema version into today's type. It fails with ErrUnknownEvent for a type or
// version that isn't registered; any other error is of the data or an upcaster.
func (r *Registry) Decode(eventType string, schemaVersion int, data []byte) (Event, error) {
	d, ok := r.events[eventType]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownEvent, eventType)
	}
	data, err := d.Upcast(schemaVersion, data)
	if err != nil {
		return nil, err
	}
	e, err := d.decode(data)
	if err != nil {
		return nil, fmt.Errorf("decode event %s: %w", eventType, err)
	}
	return e, nil
}
