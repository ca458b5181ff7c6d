package domain

import (
	"fmt"
	"reflect"
)

// Personal is text about a person: a name, an address. An event that carries it is defined by DefinePersonalEvent, which
// says whom it is about. The event store seals each such text under that subject's key before it is written, and
// everything derived from the log (states, snapshots, read models) keeps it sealed; only what is shown to somebody is
// opened. Once the subject's key is destroyed, what is shown is Erased, for ever.
//
// To decisions and projections it is opaque: they may keep and pass it on, but not judge it, search by it or compare it.
// A new value, as a command brings it, is the text itself.
type Personal string

// What is shown in place of a text that can't be opened.
const (
	// Erased: the subject's key was destroyed, on record.
	Erased Personal = "[erased]"
	// Unreadable: the key is unknown, as when keys were lost, or the sealed text was tampered with.
	Unreadable Personal = "[unreadable]"
)

// Subject is whom personal text is about. The zero value stands for nobody.
type Subject struct {
	Kind      string // snake_case, such as "customer"
	Reference string // what the kind knows the person by, unique within client and kind
}

// PersonalPointer gives an optional text as an optional personal one.
func PersonalPointer(text *string) *Personal { return (*Personal)(text) }

// PersonalFields knows where the values of one type hold Personal text.
type PersonalFields struct {
	of      reflect.Type
	rewrite rewriter
}

// rewriter replaces the texts in a settable value. What the value shares with others (pointers, slices) it copies first.
type rewriter func(v reflect.Value, f func(Personal) Personal)

// PersonalFieldsOf looks for Personal text in a type: in its fields, embedded or nested, and behind pointers and in
// slices. Nil: there is none. It fails on text in a place where it couldn't be replaced: a map, an array, an unexported
// field.
func PersonalFieldsOf(t reflect.Type) (*PersonalFields, error) {
	rewrite, err := findPersonal(t, make(map[reflect.Type]bool))
	if rewrite == nil || err != nil {
		return nil, err
	}
	return &PersonalFields{of: t, rewrite: rewrite}, nil
}

// Map gives a copy of a value of the type in which f has replaced each text but empty ones. The value stays as it is.
func (p *PersonalFields) Map(value any, f func(Personal) Personal) any {
	made := reflect.New(p.of).Elem()
	made.Set(reflect.ValueOf(value))
	p.rewrite(made, f)
	return made.Interface()
}

// Each calls f with each text of a value of the type but empty ones.
func (p *PersonalFields) Each(value any, f func(Personal)) {
	p.Map(value, func(text Personal) Personal { f(text); return text })
}

func findPersonal(t reflect.Type, within map[reflect.Type]bool) (rewriter, error) {
	if t == reflect.TypeFor[Personal]() {
		return rewriteText, nil
	}
	if within[t] {
		return nil, nil // a type that contains itself: what it holds is found at the first meeting
	}
	within[t] = true
	defer delete(within, t)
	switch t.Kind() {
	case reflect.Struct:
		return findInStruct(t, within)
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		inner, err := findPersonal(t.Elem(), within)
		if inner == nil || err != nil {
			return nil, err
		}
		switch t.Kind() {
		case reflect.Pointer:
			return func(v reflect.Value, f func(Personal) Personal) { rewritePointer(v, inner, f) }, nil
		case reflect.Slice:
			return func(v reflect.Value, f func(Personal) Personal) { rewriteSlice(v, inner, f) }, nil
		}
		return nil, fmt.Errorf("personal text in a %s can't be replaced: use a struct or a slice", t)
	}
	return nil, nil
}

func findInStruct(t reflect.Type, within map[reflect.Type]bool) (rewriter, error) {
	type found struct {
		index   int
		rewrite rewriter
	}
	var fields []found
	for i := range t.NumField() {
		field := t.Field(i)
		inner, err := findPersonal(field.Type, within)
		switch {
		case err != nil:
			return nil, err
		case inner == nil:
		case !field.IsExported():
			return nil, fmt.Errorf("personal text in the unexported field %s.%s can't be replaced", t, field.Name)
		default:
			fields = append(fields, found{i, inner})
		}
	}
	if fields == nil {
		return nil, nil
	}
	return func(v reflect.Value, f func(Personal) Personal) {
		for _, field := range fields {
			field.rewrite(v.Field(field.index), f)
		}
	}, nil
}

func rewriteText(v reflect.Value, f func(Personal) Personal) {
	if text := v.String(); text != "" {
		v.SetString(string(f(Personal(text))))
	}
}

func rewritePointer(v reflect.Value, inner rewriter, f func(Personal) Personal) {
	if v.IsNil() {
		return
	}
	made := reflect.New(v.Type().Elem())
	made.Elem().Set(v.Elem())
	inner(made.Elem(), f)
	v.Set(made)
}

func rewriteSlice(v reflect.Value, inner rewriter, f func(Personal) Personal) {
	if v.Len() == 0 {
		return
	}
	made := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	reflect.Copy(made, v)
	for i := range made.Len() {
		inner(made.Index(i), f)
	}
	v.Set(made)
}
