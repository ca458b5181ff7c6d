package rest_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// contract is the OpenAPI document as the tests use it.
type contract struct {
	t        *testing.T
	document map[string]any
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

func readContract(t *testing.T) *contract {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	check(t, err)
	var parsed any
	check(t, yaml.Unmarshal(text, &parsed))
	plain, err := json.Marshal(parsed)
	check(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	check(t, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	check(t, c.AddResource("openapi.json", document))
	return &contract{t: t, document: document.(map[string]any), compiler: c, schemas: map[string]*jsonschema.Schema{}}
}

// at finds a value by its path, following references, and gives where it stands.
func (c *contract) at(path ...string) (any, string) {
	pointer := ""
	var value any = c.document
	for _, name := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, ""
		}
		if ref, ok := object["$ref"].(string); ok {
			return c.at(append(strings.Split(strings.TrimPrefix(ref, "#/"), "/"), path[slices.Index(path, name):]...)...)
		}
		value = object[name]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	if object, ok := value.(map[string]any); ok {
		if ref, ok := object["$ref"].(string); ok {
			return c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return value, pointer
}

func (c *contract) schema(pointer string) *jsonschema.Schema {
	if s := c.schemas[pointer]; s != nil {
		return s
	}
	s, err := c.compiler.Compile("openapi.json#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer))
	check(c.t, err)
	c.schemas[pointer] = s
	return s
}

// operation is one operation of the document.
type operation struct {
	*contract
	path, method, id string
	spec             map[string]any
}

func (c *contract) operations() []operation {
	var all []operation
	for path, methods := range c.document["paths"].(map[string]any) {
		for method, spec := range methods.(map[string]any) {
			object := spec.(map[string]any)
			all = append(all, operation{c, path, method, object["operationId"].(string), object})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return all
}

// parameters gives the examples of the operation's parameters, by where they go.
func (o operation) parameters(in string) map[string]string { return o.examples(in, false) }

// examples are those of parameters, or of the required ones only.
func (o operation) examples(in string, required bool) map[string]string {
	examples := make(map[string]string)
	list, _ := o.spec["parameters"].([]any)
	for _, p := range list {
		object := p.(map[string]any)
		if ref, ok := object["$ref"].(string); ok {
			resolved, _ := o.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			object = resolved.(map[string]any)
		}
		if object["in"] != in || required && object["required"] != true {
			continue
		}
		if example, ok := object["example"]; ok {
			examples[object["name"].(string)] = fmt.Sprint(example)
		} else if in == "path" {
			o.t.Errorf("%s: the path parameter %s has no example", o.id, object["name"])
		}
	}
	return examples
}

// bodies gives the examples of the operation's body; one empty one when it takes none.
func (o operation) bodies() []string {
	examples, _ := o.at("paths", o.path, o.method, "requestBody", "content", "application/json", "examples")
	named, _ := examples.(map[string]any)
	if len(named) == 0 {
		return []string{""}
	}
	var bodies []string
	for name, example := range named {
		value := example.(map[string]any)["value"]
		_, pointer := o.at("paths", o.path, o.method, "requestBody", "content", "application/json", "schema")
		if err := o.schema(pointer).Validate(value); err != nil {
			o.t.Errorf("%s: the example %s: %v", o.id, name, err)
		}
		text, err := json.Marshal(value)
		check(o.t, err)
		bodies = append(bodies, string(text))
	}
	return bodies
}

// holds checks an answer against what the document says of it.
func (o operation) holds(r *reply) {
	o.t.Helper()
	status := strconv.Itoa(r.status)
	response, _ := o.at("paths", o.path, o.method, "responses", status)
	if response == nil {
		o.t.Errorf("%s answers %s, which isn't documented: %s", o.id, status, r.body)
		return
	}
	o.headers(r, status)
	if len(r.body) == 0 {
		return
	}
	media, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	_, pointer := o.at("paths", o.path, o.method, "responses", status, "content", media, "schema")
	if pointer == "" {
		o.t.Errorf("%s answers %s with %s, which isn't documented", o.id, status, media)
		return
	}
	switch media {
	case "application/json", "application/problem+json", "application/cloudevents-batch+json":
		o.valid(pointer, r.body)
	case "text/event-stream":
		for _, e := range eventsOf(o.t, bytes.NewReader(r.body)) {
			o.valid(pointer, e.data)
		}
	case "application/x-ndjson":
		for line := range bytes.Lines(r.body) {
			o.valid(pointer, line)
		}
	}
}

func (o operation) valid(pointer string, text []byte) {
	o.t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	check(o.t, err)
	if err := o.schema(pointer).Validate(value); err != nil {
		o.t.Errorf("%s: %v\n%s", o.id, err, text)
	}
}

// headers wants every header that is documented as required, and each in its form.
func (o operation) headers(r *reply, status string) {
	o.t.Helper()
	list, _ := o.at("paths", o.path, o.method, "responses", status, "headers")
	named, _ := list.(map[string]any)
	for name, header := range named {
		_, pointer := o.at("components", "headers", name)
		text := r.header.Get(name)
		if text == "" {
			if resolved, _ := o.at("components", "headers", name); resolved.(map[string]any)["required"] == true {
				o.t.Errorf("%s: %s without the header %s", o.id, status, name)
			}
			continue
		}
		var value any = text
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			value = n
		}
		if header == nil || o.schema(pointer+"/schema").Validate(value) != nil {
			o.t.Errorf("%s: the header %s is %q", o.id, name, text)
		}
	}
	for name := range r.header {
		_, known := named[name]
		if strings.HasPrefix(name, "Annals-") && !known {
			o.t.Errorf("%s: the header %s isn't documented", o.id, name)
		}
	}
	if r.header.Get("X-Request-Id") == "" {
		o.t.Errorf("%s: no request id", o.id)
	}
	if len(r.body) > 0 && r.header.Get("Cache-Control") == "" && o.id != "metrics" {
		o.t.Errorf("%s: nothing says how long the answer may be kept", o.id)
	}
	if got := r.header.Get("X-Content-Type-Options"); got != "nosniff" {
		o.t.Errorf("%s: X-Content-Type-Options is %q", o.id, got)
	}
}

// success is the documented status of an answer that isn't a problem.
func (o operation) success() int {
	for status := range o.spec["responses"].(map[string]any) {
		if strings.HasPrefix(status, "2") {
			n, err := strconv.Atoi(status)
			check(o.t, err)
			return n
		}
	}
	o.t.Fatalf("%s never succeeds", o.id)
	return 0
}

// exampleID is the id in the document's examples.
const exampleID = "018f5c1e-7d8a-7c33-8a51-3b9f0c2d4e6f"

// completed adds the query parameters that the operation requires.
func (o operation) completed(query string) string {
	for name, example := range o.examples("query", true) {
		if !strings.Contains(query, name+"=") {
			query = cmp.Or(query, "?") + "&" + name + "=" + url.QueryEscape(example)
		}
	}
	return query
}

// send sends a request of the operation, with the query parameters that it requires. fill replaces the examples' ids by
// ones that exist.
func (o operation) send(b *bench, fill map[string]string, query, body string, headers ...string) *reply {
	path := o.path
	for name, example := range o.parameters("path") {
		path = strings.ReplaceAll(path, "{"+name+"}", or(fill[name], example))
	}
	if id := or(fill["product_id"], fill["body_id"]); id != "" {
		body = strings.ReplaceAll(body, exampleID, id)
	}
	for name, example := range o.parameters("header") {
		headers = append([]string{name + ": " + example}, headers...)
	}
	query = o.completed(query)
	if id := fill["key"]; id != "" {
		query = strings.ReplaceAll(query, exampleID, id)
	}
	return b.send(strings.ToUpper(o.method), path+query, body, lastWins(headers)...)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// lastWins keeps the last of the headers with a name.
func lastWins(headers []string) []string {
	seen := make(map[string]bool)
	var kept []string
	for _, h := range slices.Backward(headers) {
		if name, _, _ := strings.Cut(h, ":"); !seen[http.CanonicalHeaderKey(name)] {
			seen[http.CanonicalHeaderKey(name)] = true
			kept = append(kept, h)
		}
	}
	return kept
}
