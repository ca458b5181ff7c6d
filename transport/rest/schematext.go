package rest

import (
	"html/template"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlText gives a node as JSON-like text on few lines, for examples.
func yamlText(node yaml.Node) string {
	if node.Kind == 0 {
		return ""
	}
	node.HeadComment = ""
	text, err := yaml.Marshal(&node)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// child gives the value of a key in a mapping.
func child(node *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Kind == yaml.MappingNode && node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// schemaText describes a schema in HTML: a reference as a link, an object as a table of its members.
func schemaText(node yaml.Node) template.HTML {
	var b strings.Builder
	writeSchema(&b, &node)
	return template.HTML(b.String()) // every text of the document is escaped where it is written
}

func writeSchema(b *strings.Builder, node *yaml.Node) {
	if ref := child(node, "$ref"); ref != nil {
		name := template.HTMLEscapeString(refName(ref.Value))
		b.WriteString(`<a href="#schema-` + strings.ToLower(name) + `">` + name + `</a>`)
		return
	}
	for _, union := range []string{"oneOf", "anyOf"} {
		if options := child(node, union); options != nil {
			for i, option := range options.Content {
				if i > 0 {
					b.WriteString(" or ")
				}
				writeSchema(b, option)
			}
			writeRest(b, node)
			return
		}
	}
	if properties := child(node, "properties"); properties != nil {
		writeMembers(b, node, properties)
		return
	}
	if items := child(node, "items"); items != nil {
		b.WriteString("array of ")
		writeSchema(b, items)
		writeRest(b, node)
		return
	}
	if kind := child(node, "type"); kind != nil {
		b.WriteString(template.HTMLEscapeString(plainNode(kind)))
	}
	writeRest(b, node)
}

func writeMembers(b *strings.Builder, node, properties *yaml.Node) {
	required := make(map[string]bool)
	if names := child(node, "required"); names != nil {
		for _, name := range names.Content {
			required[name.Value] = true
		}
	}
	b.WriteString(`<table class="members">`)
	for i := 0; i+1 < len(properties.Content); i += 2 {
		name := properties.Content[i].Value
		b.WriteString("<tr><td><code>" + template.HTMLEscapeString(name) + "</code>")
		if required[name] {
			b.WriteString(`<span class="required" title="required">*</span>`)
		}
		b.WriteString("</td><td>")
		writeSchema(b, properties.Content[i+1])
		b.WriteString("</td></tr>")
	}
	b.WriteString("</table>")
}

// writeRest adds a schema's bounds and description.
func writeRest(b *strings.Builder, node *yaml.Node) {
	for _, bound := range []string{
		"format", "enum", "const", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "default",
	} {
		if value := child(node, bound); value != nil {
			b.WriteString(` <span class="bound">` + bound + " <code>" + template.HTMLEscapeString(plainNode(value)) + "</code></span>")
		}
	}
	if description := child(node, "description"); description != nil {
		b.WriteString(" <span>" + template.HTMLEscapeString(description.Value) + "</span>")
	}
}

func plainNode(node *yaml.Node) string {
	if node.Kind != yaml.SequenceNode {
		return node.Value
	}
	values := make([]string, len(node.Content))
	for i, item := range node.Content {
		values[i] = item.Value
	}
	return strings.Join(values, ", ")
}
