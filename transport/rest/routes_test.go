package rest

import (
	"net/http"
	"net/url"
	"testing"
)

func TestPathsAreToldApartBySegments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		template, path string
		want           bool
	}{
		{"/v1/products", "/v1/products", true},
		{"/v1/products", "/v1/products/", false},
		{"/v1/products", "/v1/products/x", false},
		{"/v1/products/{id}", "/v1/products", false},
		{"/v1/products/{id}", "/v1/products/x", true},
		{"/v1/products/{id}", "/v1/products/x/restore", false},
		{"/v1/products/{id}/restore", "/v1/products/x/restore", true},
		{"/v1/products/{id}/restore", "/v1/products/x/stock-receipts", false},
		{"/v1/tile/{rest:.+}", "/v1/tile/0/1/2", true},
	} {
		p := path{template: c.template}
		if got := p.matches(&http.Request{URL: &url.URL{Path: c.path}}, nil); got != c.want {
			t.Errorf("%s on %s: %v", c.path, c.template, got)
		}
	}
}
