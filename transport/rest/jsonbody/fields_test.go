package jsonbody_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
	"annals/transport/rest/jsonbody"
)

// sample is a command with a member of every type.
func sample(f *jsonbody.Fields) error {
	text := f.String("text")
	f.Integer("count")
	f.OptionalString("reason")
	f.OptionalInteger("stock")
	f.OptionalBool("flag")
	if f.Has("list") {
		f.Strings("list")
	}
	inner := f.Object("inner")
	inner.String("city")
	inner.OptionalString("a/b~c")
	var v domain.Validator
	v.Text("/text", text, 5)
	v.Text("/inner/city", "", 5)
	v.Fail("/inners", "is another member")
	f.Judge(v.Fields())
	return f.Err()
}

func TestFieldsFindWhatIsWrong(t *testing.T) {
	t.Parallel()
	const base, inner = `"text":"abc","count":1`, `,"inner":{"city":"Bonn"}`
	tests := map[string]struct {
		body     string
		pointers []string
	}{
		"judged":               {`{` + base + inner + `}`, []string{"/inner/city", "/inners"}},
		"null equals omitted":  {`{` + base + `,"inner":null,"flag":null}`, []string{"/inner", "/inners"}},
		"all missing":          {`{}`, []string{"/count", "/inner", "/inners", "/text"}},
		"null equals missing":  {`{"text":null,"count":1}`, []string{"/inner", "/inners", "/text"}},
		"unknown":              {`{` + base + `,"x":1}`, []string{"/inner", "/inners", "/x"}},
		"unknown and null":     {`{` + base + `,"x":null}`, []string{"/inner", "/inners", "/x"}},
		"unknown within":       {`{` + base + `,"inner":{"city":"B","y":1}}`, []string{"/inner/city", "/inner/y", "/inners"}},
		"missing within":       {`{` + base + `,"inner":{}}`, []string{"/inner/city", "/inners"}},
		"not an object":        {`{` + base + `,"inner":[]}`, []string{"/inner", "/inners"}},
		"pointer is escaped":   {`{` + base + `,"inner":{"city":1,"a/b~c":1}}`, []string{"/inner/a~1b~0c", "/inner/city", "/inners"}},
		"number for a string":  {`{"text":1,"count":1}`, []string{"/inner", "/inners", "/text"}},
		"string for a number":  {`{"text":"a","count":"1"}`, []string{"/count", "/inner", "/inners"}},
		"judged as too long":   {`{"text":"abcdef","count":1}`, []string{"/inner", "/inners", "/text"}},
		"surrogate":            {`{"text":"\ud800","count":1}`, []string{"/inner", "/inners", "/text"}},
		"fraction":             {`{"text":"a","count":2.0}`, []string{"/count", "/inner", "/inners"}},
		"exponent":             {`{"text":"a","count":1e0}`, []string{"/count", "/inner", "/inners"}},
		"beyond 64 bits":       {`{"text":"a","count":99999999999999999999999}`, []string{"/count", "/inner", "/inners"}},
		"beyond any number":    {`{"text":"a","count":1e999999999999}`, []string{"/count", "/inner", "/inners"}},
		"optional wrong types": {`{` + base + `,"reason":1,"stock":"1","flag":"true"}`, []string{"/flag", "/inner", "/inners", "/reason", "/stock"}},
		"not an array":         {`{` + base + `,"list":"a"}`, []string{"/inner", "/inners", "/list"}},
		"not strings":          {`{` + base + `,"list":["a",1,null,["b"],"\ud800"]}`, []string{"/inner", "/inners", "/list/1", "/list/2", "/list/3", "/list/4"}},
		"in order": {
			`{"z":1,"text":"","count":true,"b":2}`,
			[]string{"/b", "/count", "/inner", "/inners", "/text", "/z"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := jsonbody.Parse([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			var refusal *domain.Error
			if err := sample(jsonbody.Bind(v)); !errors.As(err, &refusal) || refusal.Code != domain.CodeValidation {
				t.Fatalf("error %v", err)
			}
			var got []string
			for _, f := range refusal.Fields {
				got = append(got, f.Pointer)
			}
			if diff := cmp.Diff(test.pointers, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestFieldsGiveValues(t *testing.T) {
	t.Parallel()
	v, err := jsonbody.Parse([]byte(`{"s":"x","n":-7,"t":true,"f":false,"o":{"s":"y"},"z":null}`))
	if err != nil {
		t.Fatal(err)
	}
	f := jsonbody.Bind(v)
	if s, n := f.String("s"), f.Integer("n"); s != "x" || n != -7 {
		t.Fatal(s, n)
	}
	if yes, no := f.OptionalBool("t"), f.OptionalBool("f"); !*yes || *no {
		t.Fatal(*yes, *no)
	}
	if s := f.Object("o").OptionalString("s"); *s != "y" {
		t.Fatal(*s)
	}
	if f.OptionalString("z") != nil || f.OptionalInteger("z") != nil || f.OptionalBool("z") != nil || f.Has("z") || !f.Has("s") {
		t.Fatal("null is not omitted")
	}
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestFieldsBoundTheirFaults(t *testing.T) {
	t.Parallel()
	members := make([]string, 500)
	for i := range members {
		members[i] = `"` + strings.Repeat("x", i+1) + `":1`
	}
	v, err := jsonbody.Parse([]byte("{" + strings.Join(members, ",") + "}"))
	if err != nil {
		t.Fatal(err)
	}
	var refusal *domain.Error
	if !errors.As(jsonbody.Bind(v).Err(), &refusal) || len(refusal.Fields) != 100 {
		t.Fatalf("%d faults", len(refusal.Fields))
	}
}

func BenchmarkParseAndBind(b *testing.B) {
	body := []byte(`{"sku":"LAP-1","name":"Laptop","price":"999.99","currency":"USD","stock":10}`)
	b.ReportAllocs()
	for b.Loop() {
		v, err := jsonbody.Parse(body)
		if err != nil {
			b.Fatal(err)
		}
		f := jsonbody.Bind(v)
		f.String("sku")
		f.String("name")
		f.String("price")
		f.OptionalString("currency")
		f.OptionalInteger("stock")
		if err := f.Err(); err != nil {
			b.Fatal(err)
		}
	}
}
