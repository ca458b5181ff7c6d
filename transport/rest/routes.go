package rest

import (
	"net/http"
	"slices"
)

// endpoints are all routes. The OpenAPI document describes the same ones; a test compares the two.
func (s *server) endpoints() []*endpoint {
	return slices.Concat(
		s.commerceCommands(),
		s.commerceQueries(),
		s.manufacturingCommands(),
		s.manufacturingQueries(),
		s.kpiQueries(),
		s.thresholdEndpoints(),
		s.eventEndpoints(),
		s.auditEndpoints(),
		s.integrityEndpoints(),
		s.webhookEndpoints(),
		s.projectionEndpoints(),
		s.serverEndpoints(),
	)
}

// serverEndpoints are about the server itself. They ask for no credential.
func (s *server) serverEndpoints() []*endpoint {
	get := func(path, name string, prepare prepare, produces ...string) *endpoint {
		return &endpoint{method: http.MethodGet, path: path, name: name, produces: produces, prepare: prepare}
	}
	return []*endpoint{
		get("/healthz", "healthz", s.healthz, mediaJSON),
		get("/readyz", "readyz", s.readyz, mediaJSON),
		get("/metrics", "metrics", s.showMetrics),
		get("/openapi.yaml", "openapi", s.showOpenAPI, mediaYAML, "text/yaml", "application/x-yaml", mediaText),
		get("/docs", "docs", s.showDocs, mediaHTML),
		get("/problems/{slug}", "problem", s.problemPage, mediaHTML, mediaJSON),
	}
}
