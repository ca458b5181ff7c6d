package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"annals/domain"
	"annals/eventstore"
	"annals/transport/eventschema"
)

// decoded is an event with what the codec makes of it.
type decoded struct {
	eventstore.Envelope
	event domain.Event
	fault error // why it can't be decoded, or shouldn't have been recorded like this
}

// typeVersion is one version of an event type.
type typeVersion struct {
	name    string
	version int
}

// decoder judges single events. It is safe for concurrent use.
type decoder struct {
	registry *domain.Registry
	schemas  map[typeVersion]*jsonschema.Schema
}

func newDecoder(registry *domain.Registry) (*decoder, error) {
	d := &decoder{registry: registry, schemas: make(map[typeVersion]*jsonschema.Schema)}
	for _, name := range registry.EventTypes() {
		definition, _ := registry.EventDefinition(name)
		for version := 1; version <= definition.SchemaVersion; version++ {
			schema, err := compile(definition, version)
			if err != nil {
				return nil, err
			}
			d.schemas[typeVersion{name, version}] = schema
		}
	}
	return d, nil
}

func compile(definition domain.EventDefinition, version int) (*jsonschema.Schema, error) {
	described, err := eventschema.Of(definition, version)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(described)
	if err != nil {
		return nil, fmt.Errorf("write the schema of %s: %w", definition.Type, err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", definition.Type, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const name = "event.json"
	if err := c.AddResource(name, document); err != nil {
		return nil, fmt.Errorf("take the schema of %s: %w", definition.Type, err)
	}
	schema, err := c.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("compile the schema of %s: %w", definition.Type, err)
	}
	return schema, nil
}

// decode gives an event's payload in today's version, or its fault.
func (d *decoder) decode(e *decoded) {
	defer func() {
		if value := recover(); value != nil {
			e.fault = fmt.Errorf("decoding panics: %v", value)
		}
	}()
	// Before the schema, whose absence says less.
	event, err := d.registry.Decode(e.EventType, e.SchemaVersion, e.Data)
	if errors.Is(err, domain.ErrUnknownEvent) {
		e.fault = err
		return
	}
	value, parseErr := jsonschema.UnmarshalJSON(bytes.NewReader(e.Data))
	if parseErr != nil {
		e.fault = fmt.Errorf("the data is not JSON: %w", parseErr)
		return
	}
	if invalid := d.schemas[typeVersion{e.EventType, e.SchemaVersion}].Validate(value); invalid != nil {
		e.fault = fmt.Errorf("the data doesn't fit the schema of version %d: %s", e.SchemaVersion, inOneLine(invalid))
		return
	}
	if e.event, e.fault = event, err; err != nil {
		e.event = nil
	}
}

// inOneLine shortens what the validator says, which begins with the schema's address.
func inOneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) > 1 {
		lines = lines[1:]
	}
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(line), "- ")
	}
	const most = 500
	if text := strings.Join(lines, "; "); len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	} else {
		return text
	}
}
