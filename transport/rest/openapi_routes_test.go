package rest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
)

// described is what the OpenAPI document says of the routes.
type described struct {
	Paths map[string]map[string]struct {
		OperationID string `yaml:"operationId"`
		Security    *[]any
		RequestBody *struct{ Required bool } `yaml:"requestBody"`
		Responses   map[string]struct {
			Ref     string `yaml:"$ref"`
			Content map[string]any
		}
	}
	Components struct {
		Responses map[string]struct{ Content map[string]any }
		Schemas   struct {
			Problem struct {
				Properties struct{ Type struct{ Enum []string } }
			} `yaml:"Problem"`
		}
	}
}

func readDocument(t *testing.T) described {
	t.Helper()
	var d described
	if err := yaml.Unmarshal(openapi, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// routed walks the router.
func routed(t *testing.T) map[string]*endpoint {
	t.Helper()
	_, router, err := newRouter(context.Background(), Config{Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]*endpoint)
	err = router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		m, ok := route.GetHandler().(*methods)
		if !ok {
			return nil
		}
		for method, e := range m.endpoints {
			if method == e.method { // HEAD goes with GET
				found[strings.ToLower(method)+" "+route.GetName()] = e
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRoutesAndDocumentAreTheSame(t *testing.T) {
	t.Parallel()
	endpoints, document := routed(t), readDocument(t)
	var documented []string
	ids := make(map[string]bool)
	for path, methods := range document.Paths {
		for method, operation := range methods {
			route := method + " " + path
			documented = append(documented, route)
			if ids[operation.OperationID] {
				t.Errorf("two operations are called %s", operation.OperationID)
			}
			ids[operation.OperationID] = true
			e := endpoints[route]
			if e == nil {
				continue
			}
			if e.name != operation.OperationID {
				t.Errorf("%s is %s in the document, %s in the code", route, operation.OperationID, e.name)
			}
			if open := operation.Security != nil && len(*operation.Security) == 0; open != (e.may == mayAnyone) {
				t.Errorf("%s: the document and the code differ on whether a credential is needed", route)
			}
			body := noBody
			if operation.RequestBody != nil {
				if body = bodyOptional; operation.RequestBody.Required {
					body = bodyRequired
				}
			}
			if body != e.body {
				t.Errorf("%s: the document and the code differ on the body", route)
			}
			checkMedia(t, document, route, e)
			for _, status := range e.statuses() {
				if _, ok := operation.Responses[status]; !ok {
					t.Errorf("%s: the answer %s isn't documented", route, status)
				}
			}
		}
	}
	slices.Sort(documented)
	if diff := cmp.Diff(documented, slices.Sorted(maps.Keys(endpoints))); diff != "" {
		t.Error(diff)
	}
}

// statuses are the answers that the conventions alone can give to requests of an endpoint.
func (e *endpoint) statuses() []string {
	statuses := []string{"400", "500"}
	if len(e.produces) > 0 {
		statuses = append(statuses, "406")
	}
	if e.may != mayAnyone {
		statuses = append(statuses, "401", "403", "429", "503")
	}
	named := strings.Contains(e.path, "{")
	if named {
		statuses = append(statuses, "404")
	}
	if e.commands() {
		statuses = append(statuses, "413", "415", "422")
	}
	if e.commands() && named && e.tenancy == ownClient { // If-Match
		statuses = append(statuses, "409", "412")
	}
	return statuses
}

// checkMedia wants each documented media type to be served, and the preferred one to be documented.
func checkMedia(t *testing.T, document described, route string, e *endpoint) {
	t.Helper()
	for status, response := range document.Paths[e.path][strings.ToLower(e.method)].Responses {
		content := response.Content
		if response.Ref != "" {
			shared, ok := document.Components.Responses[refName(response.Ref)]
			if !ok {
				t.Errorf("%s refers to %s, which there isn't", route, response.Ref)
			}
			content = shared.Content
		}
		if !strings.HasPrefix(status, "2") || len(e.produces) == 0 {
			continue
		}
		for media := range content {
			if !slices.Contains(e.produces, media) {
				t.Errorf("%s is documented to serve %s", route, media)
			}
		}
		if _, ok := content[e.produces[0]]; !ok {
			t.Errorf("%s serves %s, which isn't documented", route, e.produces[0])
		}
	}
}

func TestProblemTypesAndDocumentAreTheSame(t *testing.T) {
	t.Parallel()
	var slugs []string
	for slug, kind := range problemKinds {
		slugs = append(slugs, problemPath+slug)
		if kind.Status < 400 || kind.Title == "" || kind.Meaning == "" || kind.Remedy == "" {
			t.Errorf("%s isn't described", slug)
		}
	}
	slices.Sort(slugs)
	documented := slices.Sorted(slices.Values(readDocument(t).Components.Schemas.Problem.Properties.Type.Enum))
	if diff := cmp.Diff(documented, slugs); diff != "" {
		t.Error(diff)
	}
}
