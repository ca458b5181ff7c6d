package rest

import (
	"context"
	"net/http"
	"strings"
)

// Check is one thing that must be in order for the server to serve. Detail says how it is, for anybody to read: nothing
// internal.
type Check struct {
	Name   string `json:"name"` // such as "database" or "projection products"
	Ready  bool   `json:"ready"`
	Detail string `json:"detail"`
}

// Readiness checks the database, the migrations and the projections.
type Readiness interface {
	// Check looks at each, and comes back within a few seconds whatever the database does.
	Check(ctx context.Context) []Check
}

// healthz says that the process answers.
func (s *server) healthz(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return writeJSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
	}, nil
}

// readyz says whether the server can serve, and what isn't ready.
func (s *server) readyz(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		checks := s.config.Readiness.Check(r.Context())
		if s.stop.Err() != nil {
			checks = append(checks, Check{Name: "server", Detail: "the server is stopping"})
		}
		var missing []string
		for _, c := range checks {
			if !c.Ready {
				missing = append(missing, c.Name+": "+c.Detail)
			}
		}
		if len(missing) > 0 {
			p := newProblem("unavailable", "not ready: "+strings.Join(missing, "; "))
			p.retryAfter, p.Checks = retryLater, checks
			return p
		}
		return writeJSON(w, r, http.StatusOK, struct {
			Status string  `json:"status"`
			Checks []Check `json:"checks"`
		}{"ready", checks})
	}, nil
}
