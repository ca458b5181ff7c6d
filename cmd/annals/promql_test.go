package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// promQuery is what an expression of PromQL names. Only what our dashboard and alerts use of the language is read.
type promQuery struct {
	selectors []promSelector
	labels    []string // of by, without, on, ignoring and group_left
}

type promSelector struct {
	metric   string
	matchers []promMatcher
}

type promMatcher struct{ label, operator, value string }

var (
	promToken = regexp.MustCompile(`^(?:\s+|"(?:[^"\\]|\\.)*"|[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9][0-9a-z.]*|[=!]~|[=!<>]=|[-+*/%^<>=(){}\[\],])`)
	promName  = regexp.MustCompile(`^[a-zA-Z_:]`)
	// promLists are words with a list of labels behind them.
	promLists     = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	promWords     = []string{"and", "or", "unless", "bool", "offset"}
	promFunctions = []string{
		"sum", "max", "min", "avg", "count", "topk", "rate", "increase", "changes", "histogram_quantile", "predict_linear",
	}
)

// readPromQL reads an expression.
func readPromQL(text string) (q promQuery, err error) {
	var tokens []string
	for rest := text; rest != ""; {
		token := promToken.FindString(rest)
		if token == "" {
			return q, fmt.Errorf("can't read %q", rest)
		}
		rest = rest[len(token):]
		if strings.TrimSpace(token) != "" {
			tokens = append(tokens, token)
		}
	}
	if err := promBalanced(tokens); err != nil {
		return q, err
	}
	for i := 0; i < len(tokens); i++ {
		word, next := tokens[i], ""
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		switch {
		case word == "[": // a duration
			i += 2
		case !promName.MatchString(word) || slices.Contains(promWords, word):
		case slices.Contains(promFunctions, word) && (next == "(" || slices.Contains(promLists, next)):
		case slices.Contains(promLists, word) && next == "(":
			end := i + slices.Index(tokens[i:], ")")
			for _, label := range tokens[i+2 : end] {
				if label != "," {
					q.labels = append(q.labels, label)
				}
			}
			i = end
		case slices.Contains(promLists, word):
			return q, fmt.Errorf("%s has no list", word)
		case next == "(":
			return q, fmt.Errorf("unknown function %s", word)
		default:
			s := promSelector{metric: word}
			if next == "{" {
				end := i + slices.Index(tokens[i:], "}")
				if s.matchers, err = promMatchers(tokens[i+2 : end]); err != nil {
					return q, err
				}
				i = end
			}
			q.selectors = append(q.selectors, s)
		}
	}
	if len(q.selectors) == 0 {
		return q, errors.New("it names no metric")
	}
	return q, nil
}

func promMatchers(tokens []string) (matchers []promMatcher, err error) {
	for len(tokens) >= 3 && promName.MatchString(tokens[0]) && strings.HasPrefix(tokens[2], `"`) {
		matchers = append(matchers, promMatcher{tokens[0], tokens[1], strings.Trim(tokens[2], `"`)})
		if tokens = tokens[3:]; len(tokens) > 0 && tokens[0] == "," {
			tokens = tokens[1:]
		}
	}
	if len(tokens) > 0 {
		return nil, fmt.Errorf("can't read the matchers %q", tokens)
	}
	return matchers, nil
}

func promBalanced(tokens []string) error {
	closing := map[string]string{"(": ")", "{": "}", "[": "]"}
	var open []string
	for _, t := range tokens {
		if c, ok := closing[t]; ok {
			open = append(open, c)
		} else if t == ")" || t == "}" || t == "]" {
			if len(open) == 0 || open[len(open)-1] != t {
				return fmt.Errorf("%s closes nothing", t)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%s is missing", open)
	}
	return nil
}

func TestReadPromQL(t *testing.T) {
	t.Parallel()
	got, err := readPromQL(`histogram_quantile(0.99, sum by (le, job) (rate(a_bucket{x="1",y!~"5.."}[5m]))) > 1 and on (z) b == 0`)
	want := promQuery{
		selectors: []promSelector{{"a_bucket", []promMatcher{{"x", "=", "1"}, {"y", "!~", "5.."}}}, {metric: "b"}},
		labels:    []string{"le", "job", "z"},
	}
	if err != nil || !cmp.Equal(got, want, cmp.AllowUnexported(promQuery{}, promSelector{}, promMatcher{})) {
		t.Errorf("read %+v, %v", got, err)
	}
	for _, text := range []string{`sum(rate(a[5m])`, `nosuch(a)`, `a{x}`, `sum by (a`, `1 + 2`, `a{x="1" y="2"] }`, `a ? b`, `sum by le (a)`} {
		if _, err := readPromQL(text); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
