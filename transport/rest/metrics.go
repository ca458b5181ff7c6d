package rest

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics count requests by route template, never by path: the number of series stays bounded.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	pending  prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "annals_http_requests_total",
			Help: "Requests answered, by route template, method and status.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "annals_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer, by route template and method.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		pending: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "annals_command_synchronous_pending_total",
			Help: "Commands answered before the synchronous subscribers had applied them.",
		}),
	}
}

func (m *metrics) register(registry *prometheus.Registry) error {
	return errors.Join(registry.Register(m.requests), registry.Register(m.duration), registry.Register(m.pending))
}

func (m *metrics) observe(w *response, r *http.Request, took time.Duration) {
	route, method := w.route, r.Method
	if route == "" { // neither is bounded where no route matched
		route, method = "none", "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(w.status)).Inc()
	m.duration.WithLabelValues(route, method).Observe(took.Seconds())
}

// showMetrics answers with every metric of the process. The format is Prometheus' to negotiate.
func (s *server) showMetrics(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		promhttp.HandlerFor(s.config.Metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r.Request)
		return nil
	}, nil
}
