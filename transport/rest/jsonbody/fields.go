package jsonbody

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"annals/domain"
)

// maxErrors is how many faults one answer lists.
const maxErrors = 100

// Fields binds the members of an object to a command. Each accessor declares one member and notes when it is missing or of
// the wrong type; Judge adds what the command says of its values; Err then gives every fault at once, members that no
// accessor declared included. A member that is null counts as omitted.
type Fields struct {
	members []Member
	pointer string // of the object
	taken   []bool
	absent  bool // the object itself is missing or wrong, which was said already
	faults  *[]domain.FieldError
	nested  []*Fields
}

// Bind starts on a request's object.
func Bind(object Value) *Fields {
	return &Fields{members: object.Members, taken: make([]bool, len(object.Members)), faults: new([]domain.FieldError)}
}

// Err gives a refusal with all faults, sorted by pointer, or nil.
func (f *Fields) Err() error {
	f.unknown()
	faults := *f.faults
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b domain.FieldError) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Detail, b.Detail))
	})
	return &domain.Error{
		Code:   domain.CodeValidation,
		Detail: "the request has values that are not allowed",
		Fields: faults[:min(len(faults), maxErrors)],
	}
}

func (f *Fields) unknown() {
	for i, taken := range f.taken {
		if !taken {
			f.Fault(f.members[i].Name, "is not a known member")
			f.taken[i] = true
		}
	}
	for _, n := range f.nested {
		n.unknown()
	}
}

// Fault notes what is wrong with a member.
func (f *Fields) Fault(name, format string, args ...any) { f.fault(f.at(name), format, args...) }

func (f *Fields) fault(pointer, format string, args ...any) {
	if !f.absent {
		*f.faults = append(*f.faults, domain.FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
}

// Judge adds what a command finds wrong with its values. Of a member that has a fault already the value means nothing,
// so that a finding about it, or within it, is left out.
func (f *Fields) Judge(findings []domain.FieldError) {
	faults := *f.faults
	for _, finding := range findings {
		known := slices.ContainsFunc(faults, func(fault domain.FieldError) bool {
			rest, within := strings.CutPrefix(finding.Pointer, fault.Pointer)
			return within && (rest == "" || rest[0] == '/')
		})
		if !known {
			*f.faults = append(*f.faults, finding)
		}
	}
}

// at gives a member's JSON pointer (RFC 6901).
func (f *Fields) at(name string) string {
	if strings.ContainsAny(name, "~/") {
		name = strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	return f.pointer + "/" + name
}

// Has reports whether the object has the member, whatever its value; null is omitted.
func (f *Fields) Has(name string) bool {
	for i := range f.members {
		if f.members[i].Name == name {
			return f.members[i].Value.Kind != Null
		}
	}
	return false
}

// take finds a member of the wanted kind. Missing and required, or of another kind, is a fault.
func (f *Fields) take(name string, kind Kind, required bool) (Value, bool) {
	for i := range f.members {
		if f.members[i].Name != name {
			continue
		}
		f.taken[i] = true
		v := f.members[i].Value
		switch {
		case v.Kind == Null:
		case v.Kind != kind:
			f.Fault(name, "must be %s, not %s", kind, v.Kind)
			return Value{}, false
		case v.Unpaired:
			f.Fault(name, "has a surrogate without its partner")
			return Value{}, false
		default:
			return v, true
		}
		break
	}
	if required {
		f.Fault(name, "is required")
	}
	return Value{}, false
}

// String is a required string.
func (f *Fields) String(name string) string {
	v, _ := f.take(name, String, true)
	return v.Text
}

// Strings is a required array of strings.
func (f *Fields) Strings(name string) []string {
	v, _ := f.take(name, Array, true)
	list := make([]string, len(v.Items))
	for i, item := range v.Items {
		at := f.at(name) + "/" + strconv.Itoa(i)
		switch {
		case item.Kind != String:
			f.fault(at, "must be %s, not %s", String, item.Kind)
		case item.Unpaired:
			f.fault(at, "has a surrogate without its partner")
		default:
			list[i] = item.Text
		}
		if len(*f.faults) >= maxErrors {
			break // more than anybody is told
		}
	}
	return list
}

// OptionalString is a string, nil when it is missing.
func (f *Fields) OptionalString(name string) *string {
	v, ok := f.take(name, String, false)
	if !ok {
		return nil
	}
	return &v.Text
}

// Integer is a required integer.
func (f *Fields) Integer(name string) int64 {
	n, _ := f.integer(name, true)
	return n
}

// OptionalInteger is an integer, nil when it is missing.
func (f *Fields) OptionalInteger(name string) *int64 {
	n, ok := f.integer(name, false)
	if !ok {
		return nil
	}
	return &n
}

// integer takes JSON integers only: 2.0 and 1e3 are numbers, but not in the form of one.
func (f *Fields) integer(name string, required bool) (int64, bool) {
	v, ok := f.take(name, Number, required)
	if !ok {
		return 0, false
	}
	if strings.ContainsAny(v.Text, ".eE") {
		f.Fault(name, "must be an integer, without point and exponent")
		return 0, false
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil {
		f.Fault(name, "is out of range")
		return 0, false
	}
	return n, true
}

// OptionalBool is a boolean, nil when it is missing.
func (f *Fields) OptionalBool(name string) *bool {
	v, ok := f.take(name, Bool, false)
	if !ok {
		return nil
	}
	return &v.True
}

// Object is a required object. Of one that is missing or isn't an object only that is said.
func (f *Fields) Object(name string) *Fields {
	v, ok := f.take(name, Object, true)
	n := &Fields{
		members: v.Members, pointer: f.at(name), taken: make([]bool, len(v.Members)),
		absent: f.absent || !ok, faults: f.faults,
	}
	f.nested = append(f.nested, n)
	return n
}
