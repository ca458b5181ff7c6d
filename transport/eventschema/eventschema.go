// Package eventschema describes events as JSON Schema (draft 2020-12), made from the Go types that write and read them.
package eventschema

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"annals/domain"
)

// Draft is the dialect that the schemas are written in.
const Draft = "https://json-schema.org/draft/2020-12/schema"

// Schema is a JSON Schema.
type Schema map[string]any

// Of describes what one version of an event carries. It fails on a version that the definition says nothing of, and on a
// type that it can't describe.
func Of(d domain.EventDefinition, version int) (Schema, error) {
	shape, ok := d.Shape(version)
	if !ok {
		return nil, fmt.Errorf("event %s: nothing says what version %d looks like: add Formerly to its definition", d.Type, version)
	}
	s, err := describe(reflect.TypeOf(shape), 0)
	if err != nil {
		return nil, fmt.Errorf("event %s version %d: %w", d.Type, version, err)
	}
	s["$schema"] = Draft
	s["$id"] = fmt.Sprintf("urn:annals:event-type:%s:%d", d.Type, version)
	s["title"] = d.Type
	return s, nil
}

// personal says what a member with x-personal is.
const personal = "About a person: recorded encrypted, and shown as " + string(domain.Erased) + " once that person was erased."

// values are the types that write themselves.
var values = map[reflect.Type]Schema{
	reflect.TypeFor[domain.ID]():       {"type": "string", "format": "uuid"},
	reflect.TypeFor[domain.Date]():     {"type": "string", "format": "date"},
	reflect.TypeFor[domain.Amount]():   {"type": "string", "pattern": `^-?[0-9]+\.[0-9]{2}$`},
	reflect.TypeFor[decimal.Decimal](): {"type": "string", "pattern": `^-?[0-9]+(\.[0-9]+)?$`},
	reflect.TypeFor[time.Time]():       {"type": "string", "format": "date-time"},
	reflect.TypeFor[domain.Personal](): {"type": "string", "x-personal": true, "description": personal},
}

// deepest is how far types may be nested; a type that contains itself goes further.
const deepest = 20

func describe(t reflect.Type, depth int) (Schema, error) {
	if s, ok := values[t]; ok {
		return clone(s), nil
	}
	if depth > deepest {
		return nil, fmt.Errorf("%s is nested too deep", t)
	}
	if t.Kind() != reflect.Pointer && writesItself(t) {
		return nil, fmt.Errorf("%s writes itself in a way that isn't known here", t)
	}
	switch t.Kind() {
	case reflect.Struct:
		s := Schema{"type": "object", "additionalProperties": false}
		properties, required := Schema{}, []string{}
		if err := members(t, depth, properties, &required); err != nil {
			return nil, err
		}
		s["properties"], s["required"] = properties, required
		return s, nil
	case reflect.Pointer:
		s, err := describe(t.Elem(), depth+1)
		if err != nil {
			return nil, err
		}
		if kind, ok := s["type"].(string); ok {
			s["type"] = []string{kind, "null"}
		}
		return s, nil
	case reflect.Slice:
		items, err := describe(t.Elem(), depth+1)
		return Schema{"type": "array", "items": items}, err
	case reflect.Map:
		of, err := describe(t.Elem(), depth+1)
		return Schema{"type": "object", "additionalProperties": of}, err
	case reflect.String:
		return Schema{"type": "string"}, nil
	case reflect.Bool:
		return Schema{"type": "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Schema{"type": "integer"}, nil
	default:
		return nil, fmt.Errorf("%s has no place in an event", t)
	}
}

func writesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// members adds a struct's members. Those that encoding/json may leave out aren't required.
func members(t reflect.Type, depth int, properties Schema, required *[]string) error {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-" && options == "", !field.IsExported() && !field.Anonymous:
			continue
		case field.Anonymous && name == "" && field.Type.Kind() == reflect.Struct:
			if err := members(field.Type, depth+1, properties, required); err != nil {
				return err
			}
			continue
		case name == "":
			name = field.Name
		}
		s, err := describe(field.Type, depth+1)
		if err != nil {
			return fmt.Errorf("member %s: %w", name, err)
		}
		optional := false
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty", "omitzero":
				optional = true
			case "string":
				s = Schema{"type": "string", "pattern": "^-?[0-9]+$"}
			}
		}
		properties[name] = s
		if !optional {
			*required = append(*required, name)
		}
	}
	return nil
}

func clone(s Schema) Schema {
	c := make(Schema, len(s))
	for k, v := range s {
		c[k] = v
	}
	return c
}
