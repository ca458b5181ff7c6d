package jsonbody_test

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"annals/transport/rest/jsonbody"
)

func TestParseRefusesWhatIsNotOneObject(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ body, detail string }{
		"empty":                 {"", "is empty"},
		"white space":           {" \n", "is empty"},
		"array":                 {"[]", "is an array"},
		"string":                {`"a"`, "is a string"},
		"null":                  {"null", "is null"},
		"number":                {"1", "is a number"},
		"two objects":           {"{} {}", "more after"},
		"trailing comma":        {`{"a":1,}`, "name is expected"},
		"trailing text":         {`{"a":1}x`, "more after"},
		"unfinished object":     {`{"a":1`, "comma or the end"},
		"unfinished string":     {`{"a":"b`, "ends within a string"},
		"unfinished escape":     {`{"a":"b\`, "escape sequence"},
		"unquoted name":         {`{a:1}`, "name is expected"},
		"single quotes":         {`{'a':1}`, "name is expected"},
		"duplicate":             {`{"a":1,"a":1}`, "twice"},
		"duplicate escaped":     {`{"a":1,"\u0061":2}`, "twice"},
		"duplicate far below":   {`{"a":[{"b":{"c":1,"c":1}}]}`, "twice"},
		"duplicate among many":  {`{` + many(40) + `,"m39":1}`, "twice"},
		"not UTF-8":             {"{\"a\":\"\xff\"}", "not UTF-8"},
		"UTF-8 surrogate":       {"{\"a\":\"\xed\xa0\x80\"}", "not UTF-8"},
		"byte order mark":       {"\ufeff{}", "value is expected"},
		"control character":     {"{\"a\":\"\n\"}", "control character"},
		"raw NUL":               {"{\"a\":\"\x00\"}", "control character"},
		"control after escape":  {"{\"a\":\"\\n\x01\"}", "control character"},
		"leading zero":          {`{"a":01}`, "comma or the end"},
		"bare minus":            {`{"a":-}`, "digit"},
		"plus":                  {`{"a":+1}`, "value is expected"},
		"point without digits":  {`{"a":1.}`, "digit"},
		"exponent without any":  {`{"a":1e}`, "digit"},
		"NaN":                   {`{"a":NaN}`, "value is expected"},
		"hex escape too short":  {`{"a":"\u00"}`, "hexadecimal"},
		"hex escape with sign":  {`{"a":"\u+123"}`, "hexadecimal"},
		"unknown escape":        {`{"a":"\x"}`, "escape sequence"},
		"comment":               {`{/**/}`, "name is expected"},
		"33 levels":             {nested(33), "32 levels"},
		"33 levels of arrays":   {`{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "}", "32 levels"},
		"a million open braces": {strings.Repeat(`{"a":`, 100_000), "32 levels"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := jsonbody.Parse([]byte(test.body))
			var syntax *jsonbody.SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(syntax.Detail, test.detail) {
				t.Fatalf("Parse(%.60q) = %v, want %q", test.body, err, test.detail)
			}
		})
	}
}

func many(n int) string {
	var members []string
	for i := range n {
		members = append(members, `"m`+string(rune('0'+i/10))+string(rune('0'+i%10))+`":1`)
	}
	return strings.Join(members, ",")
}

func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

func TestParseTakes32Levels(t *testing.T) {
	t.Parallel()
	if _, err := jsonbody.Parse([]byte(nested(32))); err != nil {
		t.Fatal(err)
	}
}

func TestParseMarksUnpairedSurrogates(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body, text string
		unpaired   bool
	}{
		"pair":          {`{"a":"\ud83d\ude00"}`, "😀", false},
		"high alone":    {`{"a":"\ud83d!"}`, "\ufffd!", true},
		"low alone":     {`{"a":"\ude00"}`, "\ufffd", true},
		"two high":      {`{"a":"\ud83d\ud83d"}`, "\ufffd\ufffd", true},
		"high and text": {`{"a":"\ud83d\n"}`, "\ufffd\n", true},
		"high at end":   {`{"a":"\ud83d\u"}`, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := jsonbody.Parse([]byte(test.body))
			if test.text == "" {
				if err == nil {
					t.Fatal("no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Members[0].Value; got.Text != test.text || got.Unpaired != test.unpaired {
				t.Fatalf("got %q, unpaired %v", got.Text, got.Unpaired)
			}
		})
	}
}

func TestCanonicalFormIsEqualForEqualRequests(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		a, b string
		same bool
	}{
		"white space":        {`{"a":1,"b":2}`, ` { "a" : 1 , "b" : 2 } `, true},
		"order":              {`{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		"escapes":            {`{"a":"é/"}`, `{"\u0061":"\u00e9\/"}`, true},
		"null is omitted":    {`{"a":1}`, `{"a":1,"b":null}`, true},
		"nested order":       {`{"a":[{"x":1,"y":2}]}`, `{"a":[{"y":2,"x":1}]}`, true},
		"another value":      {`{"a":1}`, `{"a":2}`, false},
		"another type":       {`{"a":1}`, `{"a":"1"}`, false},
		"another name":       {`{"a":1}`, `{"b":1}`, false},
		"order of items":     {`{"a":[1,2]}`, `{"a":[2,1]}`, false},
		"null among items":   {`{"a":[null]}`, `{"a":[]}`, false},
		"quote in the text":  {`{"a":"\",\"b\":\""}`, `{"a":"","b":""}`, false},
		"a boolean":          {`{"a":true}`, `{"a":false}`, false},
		"control characters": {`{"a":"\u0001"}`, `{"a":"\u0002"}`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := canonical(t, test.a), canonical(t, test.b)
			if (a == b) != test.same {
				t.Fatalf("%s and %s", a, b)
			}
		})
	}
}

func canonical(t *testing.T, body string) string {
	t.Helper()
	v, err := jsonbody.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return string(v.AppendCanonical(nil))
}

// FuzzParse holds the parser against encoding/json: it takes what that calls valid, apart from the rules that are
// stricter on purpose, and reads the same values.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":[1,2.5e-3,true,false,null,"x\n\ud83d\ude00"]}`, `{"a":{"a":{}}}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}",
		`[{"a":1}]`, `{"a":"\ud800"}`, `{"a":-0}`, `{"a":1E+10}`, ` {"":""} `, `{"a":"\u0000"}`, nested(33), `{"a":00}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := jsonbody.Parse(data)
		if err != nil {
			if reason := strictness(data); reason == "" && json.Valid(data) {
				t.Fatalf("refused %q: %v", data, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("took %q", data)
		}
		if reason := strictness(data); reason != "" {
			t.Fatalf("took %q although %s", data, reason)
		}
		var want map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(data)))
		decoder.UseNumber()
		if err := decoder.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := plain(v); !reflect.DeepEqual(any(want), got) {
			t.Fatalf("%q reads as %v", data, got)
		}
		again, err := jsonbody.Parse(v.AppendCanonical(nil))
		if err != nil || string(again.AppendCanonical(nil)) != string(v.AppendCanonical(nil)) {
			t.Fatalf("the canonical form of %q isn't stable: %v", data, err)
		}
		_ = jsonbody.Bind(v).Err()
	})
}

// strictness says which rule beyond JSON's own a text breaks, by means of encoding/json's tokens.
func strictness(data []byte) string {
	if !utf8.Valid(data) {
		return "it is not UTF-8"
	}
	type level struct {
		object, value bool
		names         map[string]bool
	}
	var open []level
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	for first := true; ; first = false {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) || err != nil {
			return ""
		}
		delim, isDelim := token.(json.Delim)
		if first && delim != '{' {
			return "it is not an object"
		}
		if isDelim && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
			continue
		}
		if len(open) > 0 {
			top := &open[len(open)-1]
			if top.object && !top.value {
				if name := token.(string); top.names[name] {
					return "a member appears twice"
				} else {
					top.names[name] = true
				}
				top.value = true
				continue
			}
			top.value = false
		}
		if isDelim {
			open = append(open, level{object: delim == '{', names: map[string]bool{}})
			if len(open) > jsonbody.MaxDepth {
				return "it is too deep"
			}
		}
	}
}

func plain(v jsonbody.Value) any {
	switch v.Kind {
	case jsonbody.Bool:
		return v.True
	case jsonbody.Number:
		return json.Number(v.Text)
	case jsonbody.String:
		return v.Text
	case jsonbody.Array:
		items := []any{}
		for _, item := range v.Items {
			items = append(items, plain(item))
		}
		return items
	case jsonbody.Object:
		members := map[string]any{}
		for _, m := range v.Members {
			members[m.Name] = plain(m.Value)
		}
		return members
	}
	return nil
}
