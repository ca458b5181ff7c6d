package rest_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"annals/domain"
	"annals/eventstore"
	"annals/transport/rest"
)

// atOnce is an event store that takes everything at once, so that the benchmark shows what HTTP itself costs.
type atOnce struct{ rest.Applied }

func (atOnce) Run(
	context.Context, eventstore.Command, func(context.Context, *domain.UnitOfWork) error,
) (eventstore.CommandResult, error) {
	return eventstore.CommandResult{AggregateType: "product", Version: 1, Position: 1, Created: true, Events: []eventstore.RecordedEvent{
		{EventType: "product.registered", AggregateType: "product", Version: 1, Position: 1},
	}}, nil
}

func (atOnce) WaitSynchronous(context.Context, int64, time.Duration) bool { return true }

// BenchmarkCommand is a command from the request's header to the answer, without network and event store.
func BenchmarkCommand(b *testing.B) {
	handler, err := rest.New(context.Background(), rest.Config{
		Authenticator: rest.Open{}, Commands: atOnce{}, Applied: atOnce{}, Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler),
	})
	check(b, err)
	const body = `{"sku":"LAP-1","name":"Laptop","price":"999.99","currency":"USD","stock":10}`
	b.ReportAllocs()
	for b.Loop() {
		r, err := http.NewRequest("POST", "http://localhost/v1/products", strings.NewReader(body))
		check(b, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			b.Fatal(w.Body)
		}
	}
}
