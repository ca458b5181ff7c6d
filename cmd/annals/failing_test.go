package main

import (
	"fmt"
	"net/http"
	"testing"

	"annals/eventstore/pgtest"
	"annals/projections"
	"annals/projections/products"
)

// A read model that can't take an event stops there, says so, and tries again, while commands and the other read models go
// on. Once the event can be applied it catches up by itself.
func TestReadModelThatFailsForAWhile(t *testing.T) {
	t.Parallel()
	f := failingProducts(t)
	f.stops(3)
	if r := f.server.everyone().send("GET", "/readyz", ""); r.status != http.StatusServiceUnavailable {
		t.Errorf("readiness beside a failed read model: %d", r.status)
	}
	f.load.progress(50)
	c := f.server.caller(shop)
	c.get("/v1/orders", c.head()).is(http.StatusOK)
	if r := c.send("GET", "/v1/products", "", fmt.Sprintf("Annals-Min-Position: %d", f.position), "Prefer: wait=0"); r.slug() != "read-model-behind" {
		t.Errorf("the failed read model answers %d %s", r.status, r.body)
	}
	f.mend()
	c.get("/v1/products", c.head()).is(http.StatusOK)
	f.load.finish(f.server, f.database...)
}

// A poison event is named, and left out for a reason that is on record, now and in every rebuild.
func TestPoisonEventIsSkipped(t *testing.T) {
	t.Parallel()
	f := failingProducts(t)
	failure := f.failure()
	if failure.Position != f.position || failure.EventType != "product.registered" || failure.EventID.String() != f.eventID || failure.Error == "" {
		t.Errorf("%+v", failure)
	}
	f.tool("projections", "retry", "products", fmt.Sprint(f.position))
	f.stops(failure.Attempts + 1)
	f.tool("projections", "skip", "products", fmt.Sprint(f.position), "--reason", "ticket 118")
	c := f.server.caller(shop)
	c.get("/v1/products", c.head()).is(http.StatusOK)
	f.mend()
	var recorded int
	if err := f.db.Get(&recorded, `SELECT count(*) FROM annals.events WHERE client_id = 'annals' AND data::text LIKE '%ticket 118%'`); err != nil || recorded != 1 {
		t.Errorf("%d events tell of the skip, %v", recorded, err)
	}
	f.load.progress(20)
	f.tool("replay", "products")
	f.load.finish(f.server, f.database...)
	var page struct{ Items []any }
	if c.send("GET", "/v1/products?sku=poison", "").is(http.StatusOK).into(&page); len(page.Items) != 0 {
		t.Errorf("the skipped product is shown: %v", page.Items)
	}
}

// failing is a server under load whose read model of products has stopped at an event.
type failing struct {
	t        *testing.T
	db       *pgtest.DB
	database []string // the flags that name it
	server   *program
	load     *load
	position int64
	eventID  string
}

// failingProducts registers a product that the read model can't take.
func failingProducts(t *testing.T) *failing {
	t.Helper()
	db := pgtest.New(t)
	f := &failing{t: t, db: db, database: []string{"--database-url", db.DSN}}
	f.server = serveHere(t, f.database...)
	f.load = newLoad(t, f.server).start(4)
	f.load.progress(20)
	db.MustExec(`ALTER TABLE ` + liveProducts + ` ADD CONSTRAINT poison CHECK (sku <> 'poison')`)
	done, ok := f.load.command(0, "poison", "POST", "/v1/products", registration("poison", 1))
	if !ok {
		t.FailNow()
	}
	f.position, f.eventID = done.Position, done.Events[0].EventID
	f.stops(1)
	return f
}

// stops waits until the server says that the products stopped at the event, once it was tried so often.
func (f *failing) stops(attempts int) {
	f.t.Helper()
	f.server.await(fmt.Sprintf("subscriber=products version=%d position=%d event_type=product.registered event_id=%s attempts=%d ",
		products.Spec().Version, f.position, f.eventID, attempts))
}

// failure is what the products show to have stopped at.
func (f *failing) failure() projections.Failure {
	f.t.Helper()
	var list struct{ Items []projections.Failure }
	f.server.everyone().send("GET", "/v1/projections/products/failures", "").is(http.StatusOK).into(&list)
	if len(list.Items) != 1 {
		f.t.Fatalf("failures: %+v", list.Items)
	}
	return list.Items[0]
}

// mend lets the read model take the event.
func (f *failing) mend() { f.db.MustExec(`ALTER TABLE ` + liveProducts + ` DROP CONSTRAINT poison`) }

// tool runs a command line on the server's database, which must succeed.
func (f *failing) tool(args ...string) {
	f.t.Helper()
	annals(f.t, append(args, f.database...)...).exits(exitDone)
}
