package rest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"annals/domain"
)

func TestParseIfMatch(t *testing.T) {
	t.Parallel()
	versions := func(v ...int64) *domain.Precondition { return &domain.Precondition{Versions: v} }
	tests := map[string]struct {
		header []string
		want   *domain.Precondition
		wrong  bool
	}{
		"not sent":                {nil, nil, false},
		"one":                     {[]string{`"3"`}, versions(3), false},
		"list":                    {[]string{`"3", "4"`}, versions(3, 4), false},
		"two lines":               {[]string{`"3"`, `"4"`}, versions(3, 4), false},
		"empty elements":          {[]string{`, "3",,`}, versions(3), false},
		"any":                     {[]string{`*`}, &domain.Precondition{Any: true}, false},
		"any with space":          {[]string{` * `}, &domain.Precondition{Any: true}, false},
		"weak never matches":      {[]string{`W/"3"`}, versions(), false},
		"weak beside strong":      {[]string{`W/"3", "4"`}, versions(4), false},
		"another tag":             {[]string{`"abc"`}, versions(), false},
		"leading zero":            {[]string{`"03"`}, versions(), false},
		"plus":                    {[]string{`"+3"`}, versions(), false},
		"zero":                    {[]string{`"0"`}, versions(), false},
		"beyond 64 bits":          {[]string{`"99999999999999999999"`}, versions(), false},
		"empty tag":               {[]string{`""`}, versions(), false},
		"comma within":            {[]string{`"3,4"`}, versions(), false},
		"no quotes":               {[]string{`3`}, nil, true},
		"half a quote":            {[]string{`"3`}, nil, true},
		"nothing":                 {[]string{``}, nil, true},
		"commas alone":            {[]string{`,,`}, nil, true},
		"any and a tag":           {[]string{`*, "3"`}, nil, true},
		"a tag and any":           {[]string{`"3", *`}, nil, true},
		"no comma":                {[]string{`"3" "4"`}, nil, true},
		"small weak mark":         {[]string{`w/"3"`}, nil, true},
		"space within":            {[]string{`"3 4"`}, nil, true},
		"an escape isn't special": {[]string{`"3\"`}, versions(), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseIfMatch(test.header)
			if (err != nil) != test.wrong {
				t.Fatalf("error %v", err)
			}
			if got != nil && len(got.Versions) == 0 {
				got.Versions = nil
			}
			if test.want != nil && len(test.want.Versions) == 0 {
				test.want.Versions = nil
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestNoneMatch(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header []string
		want   bool
	}{
		"not sent": {nil, false}, "same": {[]string{`"3"`}, true}, "weak": {[]string{`W/"3"`}, true},
		"other": {[]string{`"4"`}, false}, "among": {[]string{`"1", W/"3"`}, true}, "any": {[]string{`*`}, true},
		"broken": {[]string{`3`}, false}, "broken after": {[]string{`"4", 3`}, false}, "empty": {[]string{``}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := noneMatch(test.header, 3); got != test.want {
				t.Fatal(got)
			}
		})
	}
}

func TestParsePrefer(t *testing.T) {
	t.Parallel()
	wait := func(s int) preferences { return preferences{wait: time.Duration(s) * time.Second, hasWait: true} }
	tests := map[string]struct {
		header []string
		want   preferences
		wrong  bool
	}{
		"not sent":           {nil, preferences{}, false},
		"empty":              {[]string{""}, preferences{}, false},
		"representation":     {[]string{"return=representation"}, preferences{representation: true}, false},
		"quoted":             {[]string{`return="representation"`}, preferences{representation: true}, false},
		"with spaces":        {[]string{"return = representation"}, preferences{representation: true}, false},
		"capitals":           {[]string{"Return=representation"}, preferences{representation: true}, false},
		"minimal":            {[]string{"return=minimal"}, preferences{minimal: true}, false},
		"the first counts":   {[]string{"return=minimal, return=representation"}, preferences{minimal: true}, false},
		"unknown value":      {[]string{"return=everything"}, preferences{}, false},
		"wait":               {[]string{"wait=5"}, wait(5), false},
		"wait quoted":        {[]string{`wait="5"`}, wait(5), false},
		"wait for nothing":   {[]string{"wait=0"}, wait(0), false},
		"wait too long":      {[]string{"wait=31"}, wait(30), false},
		"wait overflows":     {[]string{"wait=9223372036854775807"}, wait(30), false},
		"wait that isn't":    {[]string{"wait=soon"}, preferences{}, false},
		"negative wait":      {[]string{"wait=-1"}, preferences{}, false},
		"first wait":         {[]string{"wait=1, wait=2"}, wait(1), false},
		"unknown preference": {[]string{`respond-async; x=1;; y, foo="a,b;c"`}, preferences{}, false},
		"several lines":      {[]string{"wait=1", "handling=lenient"}, wait(1), false},
		"a parameter isn't":  {[]string{"foo; wait=3"}, preferences{}, false},
		"no name":            {[]string{"=5"}, preferences{}, true},
		"no value":           {[]string{"wait="}, preferences{}, true},
		"half a quote":       {[]string{`wait="5`}, preferences{}, true},
		"escape at the end":  {[]string{`wait="5\`}, preferences{}, true},
		"two words":          {[]string{"wait 5"}, preferences{}, true},
		"a wrong parameter":  {[]string{"foo; =1"}, preferences{}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parsePrefer(test.header)
			if (err != nil) != test.wrong || got != test.want {
				t.Fatalf("%+v, %v", got, err)
			}
		})
	}
}

func FuzzIfMatch(f *testing.F) {
	for _, seed := range []string{`"3"`, `*`, `W/"3", "4"`, `,"`, `"a`, `"1","2"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		p, err := parseIfMatch([]string{header})
		if err != nil {
			return
		}
		for _, v := range p.Versions {
			if v < 1 || !strings.Contains(header, etag(v)) {
				t.Fatalf("%q gives version %d", header, v)
			}
		}
		if p.Any && strings.TrimSpace(strings.ReplaceAll(header, "\t", " ")) != "*" {
			t.Fatalf("%q stands for any", header)
		}
		// The same list on two lines means the same.
		if again, err := parseIfMatch([]string{header, ""}); !p.Any && (err != nil || len(again.Versions) != len(p.Versions)) {
			t.Fatalf("%q means something else with another line", header)
		}
	})
}

func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"return=representation", `wait="5"; a=b`, "wait=-1", `x="\"`, ",,;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		p, err := parsePrefer([]string{header})
		if err != nil && p != (preferences{}) {
			t.Fatal("an error with preferences")
		}
		if p.wait < 0 || p.wait > maxWait || p.representation && p.minimal {
			t.Fatalf("%q gives %+v", header, p)
		}
	})
}

func TestNegotiate(t *testing.T) {
	t.Parallel()
	offers := []string{mediaJSON, mediaNDJSON}
	tests := map[string]struct {
		accept []string
		want   string
	}{
		"not sent":         {nil, mediaJSON},
		"empty":            {[]string{""}, mediaJSON},
		"anything":         {[]string{"*/*"}, mediaJSON},
		"exactly":          {[]string{"application/x-ndjson"}, mediaNDJSON},
		"capitals":         {[]string{"Application/X-NDJSON"}, mediaNDJSON},
		"type":             {[]string{"application/*"}, mediaJSON},
		"weights":          {[]string{"application/json;q=0.1, application/x-ndjson;q=0.9"}, mediaNDJSON},
		"two lines":        {[]string{"text/html", "application/x-ndjson"}, mediaNDJSON},
		"specific counts":  {[]string{"application/json;q=0, */*"}, mediaNDJSON},
		"others":           {[]string{"text/html, application/xml"}, ""},
		"weight zero":      {[]string{"application/json;q=0"}, ""},
		"nonsense":         {[]string{"nonsense"}, ""},
		"nonsense and one": {[]string{";;, application/json"}, mediaJSON},
		"browser":          {[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, mediaJSON},
		"wrong weight":     {[]string{"application/json;q=7"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, ok := negotiate(test.accept, offers); got != test.want || ok != (test.want != "") {
				t.Fatalf("%q, %v", got, ok)
			}
		})
	}
}

func TestParseTrace(t *testing.T) {
	t.Parallel()
	const id, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	tests := map[string]struct {
		header string
		good   bool
	}{
		"good":          {"00-" + id + "-" + span + "-01", true},
		"later version": {"01-" + id + "-" + span + "-01-more", true},
		"version 00 ":   {"00-" + id + "-" + span + "-01-more", false},
		"version ff":    {"ff-" + id + "-" + span + "-01", false},
		"capitals":      {"00-" + strings.ToUpper(id) + "-" + span + "-01", false},
		"zero trace":    {"00-" + strings.Repeat("0", 32) + "-" + span + "-01", false},
		"zero span":     {"00-" + id + "-" + strings.Repeat("0", 16) + "-01", false},
		"short":         {"00-" + id[1:] + "-" + span + "-01", false},
		"nonsense":      {"nonsense", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := parseTrace(http.Header{"Traceparent": {test.header}})
			want := trace{}
			if test.good {
				want = trace{id, span}
			}
			if got != want {
				t.Fatalf("%+v", got)
			}
		})
	}
}
