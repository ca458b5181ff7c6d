package rest

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/mux"
)

func TestPathsAreToldApartBySegments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		template, path string
		want           map[string]string // nil: it isn't of the template
	}{
		{"/v1/products", "/v1/products", map[string]string{}},
		{"/v1/products", "/v1/products/", nil},
		{"/v1/products", "/v1/products/x", nil},
		{"/v1/products", "/v1/product", nil},
		{"/v1/products/{id}", "/v1/products", nil},
		{"/v1/products/{id}", "/v1/products/", nil},
		{"/v1/products/{id}", "/v1/products/x", map[string]string{"id": "x"}},
		{"/v1/products/{id}", "/v1/products/x/", nil},
		{"/v1/products/{id}", "/v1/products/x/restore", nil},
		{"/v1/products/{id}/restore", "/v1/products/x/restore", map[string]string{"id": "x"}},
		{"/v1/products/{id}/restore", "/v1/products//restore", nil},
		{"/v1/products/{id}/restore", "/v1/products/x/stock-receipts", nil},
		{"/v1/streams/{type}/{id}/state", "/v1/streams/a/b/state", map[string]string{"type": "a", "id": "b"}},
		{"/v1/tile/{level}/{rest}...", "/v1/tile/0/1/2/", map[string]string{"level": "0", "rest": "1/2/"}},
		{"/v1/tile/{level}/{rest}...", "/v1/tile/0/1", map[string]string{"level": "0", "rest": "1"}},
		{"/v1/tile/{level}/{rest}...", "/v1/tile/0/", nil},
		{"/v1/tile/{level}/{rest}...", "/v1/tile/0", nil},
	} {
		template, spans := strings.CutSuffix(c.template, "...")
		var found mux.RouteMatch
		matches := newPath(&endpoint{path: template, spans: spans}).matches(&http.Request{URL: &url.URL{Path: c.path}}, &found)
		if matches != (c.want != nil) || !maps.Equal(found.Vars, c.want) {
			t.Errorf("%s on %s: %v %v", c.path, c.template, matches, found.Vars)
		}
	}
}
