package rest

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openapi []byte

//go:embed docs.html
var docsTemplate string

// renderDocs makes the page of the OpenAPI document. It takes a good part of a server's start, and few ask for the page:
// a server makes it when the first one does.
func renderDocs() ([]byte, error) {
	var document document
	if err := yaml.Unmarshal(openapi, &document); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	functions := template.FuncMap{
		"prose": prose, "schema": schemaText, "ref": refName, "anchor": anchor, "example": yamlText,
		"parameter": document.parameter, "response": document.response,
	}
	page, err := template.New("docs").Funcs(functions).Parse(docsTemplate)
	if err != nil {
		return nil, fmt.Errorf("read the template of the documentation: %w", err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, &document); err != nil {
		return nil, fmt.Errorf("render the documentation: %w", err)
	}
	return b.Bytes(), nil
}

// showOpenAPI serves the document as it is.
func (s *server) showOpenAPI(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		writeBody(w, r, http.StatusOK, mediaYAML, openapi)
		return nil
	}, nil
}

// showDocs serves the document as a page.
func (s *server) showDocs(r *request) (answer, error) {
	page, err := s.docs()
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) error {
		w.Header().Set("Content-Security-Policy", pagePolicy)
		writeBody(w, r, http.StatusOK, mediaHTML+"; charset=utf-8", page)
		return nil
	}, nil
}

// document is what the page shows of an OpenAPI document.
type document struct {
	Info struct {
		Title, Version, Summary, Description string
	}
	Tags       []struct{ Name, Description string }
	Paths      ordered[ordered[operation]]
	Components struct {
		Parameters map[string]parameterDoc
		Responses  map[string]responseDoc
		Schemas    ordered[yaml.Node]
	}
}

type operation struct {
	OperationID string `yaml:"operationId"`
	Tags        []string
	Summary     string
	Description string
	Parameters  []parameterDoc
	RequestBody *struct {
		Required bool
		Content  map[string]struct {
			Schema   yaml.Node
			Examples ordered[struct{ Value yaml.Node }]
		}
	} `yaml:"requestBody"`
	Responses ordered[responseDoc]
}

type parameterDoc struct {
	Ref         string `yaml:"$ref"`
	Name, In    string
	Required    bool
	Description string
	Schema      yaml.Node
	Example     yaml.Node
}

type responseDoc struct {
	Ref         string `yaml:"$ref"`
	Description string
	Headers     ordered[yaml.Node]
	Content     ordered[struct {
		Schema  yaml.Node
		Example yaml.Node
	}]
}

func (d *document) parameter(p parameterDoc) parameterDoc {
	if p.Ref != "" {
		return d.Components.Parameters[refName(p.Ref)]
	}
	return p
}

func (d *document) response(r responseDoc) responseDoc {
	if r.Ref != "" {
		return d.Components.Responses[refName(r.Ref)]
	}
	return r
}

// Operation is one method of one path, with the tag it is shown under.
type Operation struct {
	Method, Path string
	operation
}

// ByTag gives the operations with a tag, in the order of the document.
func (d *document) ByTag(tag string) []Operation {
	var found []Operation
	for _, path := range d.Paths {
		for _, method := range path.Value {
			if slices.Contains(method.Value.Tags, tag) {
				found = append(found, Operation{strings.ToUpper(method.Key), path.Key, method.Value})
			}
		}
	}
	return found
}

// ordered is a mapping that keeps the order of the document.
type ordered[T any] []entry[T]

type entry[T any] struct {
	Key   string
	Value T
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (o *ordered[T]) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a mapping is expected", node.Line)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		e := entry[T]{Key: node.Content[i].Value}
		if err := node.Content[i+1].Decode(&e.Value); err != nil {
			return err
		}
		*o = append(*o, e)
	}
	return nil
}

func refName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func anchor(parts ...string) string { return strings.ToLower(strings.Join(parts, "-")) }

// prose renders the little Markdown that descriptions use: paragraphs, **bold** and `code`.
func prose(text string) template.HTML {
	var b strings.Builder
	for _, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if paragraph == "" {
			continue
		}
		escaped := template.HTMLEscapeString(paragraph)
		escaped = pairs(escaped, "**", "<strong>", "</strong>")
		escaped = pairs(escaped, "`", "<code>", "</code>")
		b.WriteString("<p>" + escaped + "</p>\n")
	}
	return template.HTML(b.String()) // escaped above
}

func pairs(text, mark, open, close string) string {
	parts := strings.Split(text, mark)
	for i := 1; i < len(parts); i += 2 {
		if i+1 < len(parts) {
			parts[i] = open + parts[i] + close
		}
	}
	return strings.Join(parts, "")
}
