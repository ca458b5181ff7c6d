package rest

import (
	"html/template"
	"net/http"
)

// problemPage explains a problem type to whoever follows the link in an error.
func (s *server) problemPage(r *request) (answer, error) {
	slug := r.vars["slug"]
	kind, ok := problemKinds[slug]
	if !ok {
		return nil, notFound("there is no such problem type")
	}
	return func(w http.ResponseWriter) error {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		if r.media == mediaJSON {
			return writeJSON(w, r, http.StatusOK, struct {
				Type    string `json:"type"`
				Title   string `json:"title"`
				Status  int    `json:"status"`
				Meaning string `json:"meaning"`
				Remedy  string `json:"remedy"`
			}{problemPath + slug, kind.Title, kind.Status, kind.Meaning, kind.Remedy})
		}
		return writePage(w, r, problemTemplate, struct {
			Slug string
			problemKind
		}{slug, kind})
	}, nil
}

var problemTemplate = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} – Annals</title>
<style>
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #1b2430; background: #fff }
code { font-family: ui-monospace, monospace; background: #eef1f5; padding: .1em .3em; border-radius: 3px }
h1 { font-size: 1.6rem } h2 { font-size: 1.1rem; margin-top: 2rem }
@media (prefers-color-scheme: dark) { body { color: #dde4ec; background: #14181d } code { background: #262d36 } a { color: #8ab4f8 } }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
<p>Type <code>/problems/{{.Slug}}</code>, status <code>{{.Status}}</code>.</p>
<h2>What it means</h2>
<p>{{.Meaning}}</p>
<h2>What to do</h2>
<p>{{.Remedy}}</p>
<p><a href="/docs">The API's documentation</a></p>
</body>
</html>
`))
