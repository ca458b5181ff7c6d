package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"annals/eventstore/pgtest"
	"annals/projections"
)

// A read model that can't take an event stops there, says so, and tries again, while commands and the other read models go
// on. Once the event can be applied it catches up by itself.
func TestReadModelThatFailsForAWhile(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	server := serveHere(t, database...)
	l := newLoad(t, server).start(4)
	l.progress(20)
	poisoned := poison(t, db, l)
	admin := server.everyone()
	for attempts := 0; attempts < 3; {
		attempts = awaitFailure(t, admin, poisoned).Attempts
	}
	if r := admin.send("GET", "/readyz", ""); r.status != http.StatusServiceUnavailable {
		t.Errorf("readiness beside a failed read model: %d", r.status)
	}
	l.progress(50)
	c := server.caller(shop)
	c.get("/v1/orders", c.head()).is(http.StatusOK)
	if r := c.send("GET", "/v1/products", "", fmt.Sprintf("Annals-Min-Position: %d", poisoned), "Prefer: wait=0"); r.slug() != "read-model-behind" {
		t.Errorf("the failed read model answers %d %s", r.status, r.body)
	}
	db.MustExec(`ALTER TABLE ` + liveProducts + ` DROP CONSTRAINT poison`)
	c.get("/v1/products", c.head()).is(http.StatusOK)
	l.finish(server, database...)
}

// A poison event is named, and left out for a reason that is on record, now and in every rebuild.
func TestPoisonEventIsSkipped(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	server := serveHere(t, database...)
	l := newLoad(t, server).start(4)
	l.progress(20)
	poisoned := poison(t, db, l)
	failure := awaitFailure(t, server.everyone(), poisoned)
	if failure.EventType != "product.registered" || failure.EventID.IsZero() || failure.Error == "" {
		t.Errorf("%+v", failure)
	}
	annals(t, append([]string{"projections", "retry", "products", fmt.Sprint(poisoned)}, database...)...).exits(exitDone)
	awaitFailure(t, server.everyone(), poisoned)
	annals(t, append([]string{"projections", "skip", "products", fmt.Sprint(poisoned), "--reason", "ticket 118"}, database...)...).exits(exitDone)
	c := server.caller(shop)
	c.get("/v1/products", c.head()).is(http.StatusOK)
	db.MustExec(`ALTER TABLE ` + liveProducts + ` DROP CONSTRAINT poison`)
	var recorded int
	if err := db.Get(&recorded, `SELECT count(*) FROM annals.events WHERE client_id = 'annals' AND data::text LIKE '%ticket 118%'`); err != nil || recorded != 1 {
		t.Errorf("%d events tell of the skip, %v", recorded, err)
	}
	l.progress(20)
	annals(t, append([]string{"replay", "products"}, database...)...).exits(exitDone)
	l.finish(server, database...)
	if r := c.send("GET", "/v1/products?sku=poison", "").is(http.StatusOK); len(r.items()) != 0 {
		t.Errorf("the skipped product is shown: %s", r.body)
	}
}

// poison makes a product that the read model of products can't take, and gives the event's position.
func poison(t *testing.T, db *pgtest.DB, l *load) int64 {
	t.Helper()
	db.MustExec(`ALTER TABLE ` + liveProducts + ` ADD CONSTRAINT poison CHECK (sku <> 'poison')`)
	done, ok := l.command(0, "poison", "POST", "/v1/products", registration("poison", 1))
	if !ok {
		t.FailNow()
	}
	return done.Position
}

// awaitFailure waits until the products have failed at a position.
func awaitFailure(t *testing.T, c *caller, position int64) projections.Failure {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var list struct{ Items []projections.Failure }
		c.send("GET", "/v1/projections/products/failures", "").is(http.StatusOK).into(&list)
		if len(list.Items) == 1 && list.Items[0].Position == position {
			return list.Items[0]
		}
	}
	t.Fatalf("the products don't fail at %d", position)
	return projections.Failure{}
}

// items gives a page's items.
func (r *reply) items() []any {
	r.t.Helper()
	var page struct{ Items []any }
	r.into(&page)
	return page.Items
}
