package main

import (
	"fmt"
	"net/http"
	"testing"

	"annals/eventstore/pgtest"
)

// The tour that the documentation gives: register, fill a cart, submit, cancel; then look at what the log, the audit log
// and a replay make of it.
func TestTour(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database := []string{"--database-url", db.DSN}
	server := serveHere(t, database...)
	c := server.caller(shop)
	product := c.send("POST", "/v1/products", `{"sku":"LAP-1","name":"Laptop","price":"999.99","currency":"USD","stock":10}`).
		is(http.StatusCreated).done().ID
	cart := c.send("POST", "/v1/carts", `{"customer_id":"c-1"}`).is(http.StatusCreated).done().ID
	c.send("POST", "/v1/carts/"+cart+"/items", item(product, 2)).is(http.StatusOK)
	submitted := c.send("POST", "/v1/carts/"+cart+"/submit", address).is(http.StatusOK).done()
	if got := c.stock(product, submitted.Position); got != (stock{Available: 8, Reserved: 2}) {
		t.Errorf("after the order there is %+v", got)
	}
	var order struct {
		Status, Total string
		Lines         []struct {
			ProductName string `json:"product_name"`
			LineTotal   string `json:"line_total"`
		}
	}
	c.get("/v1/orders/"+submitted.OrderID, submitted.Position).is(http.StatusOK).into(&order)
	if order.Status != "created" || order.Total != "1999.98" || len(order.Lines) != 1 || order.Lines[0].LineTotal != "1999.98" {
		t.Errorf("the order is %+v", order)
	}
	last := c.send("POST", "/v1/orders/"+submitted.OrderID+"/cancel", `{"reason":"too late"}`).is(http.StatusOK).done().Position
	c.get("/v1/orders/"+submitted.OrderID, last).is(http.StatusOK).into(&order)
	if got := c.stock(product, last); order.Status != "cancelled" || got != (stock{Available: 10}) {
		t.Errorf("after the cancellation the order is %s and there is %+v", order.Status, got)
	}
	log := c.events("/v1/events", last)
	want := []string{"product.registered", "cart.created", "cart.item_added", "product.stock_reserved", "cart.submitted",
		"order.created", "order.cancelled", "product.stock_released"}
	var got []string
	for _, e := range log {
		got = append(got, e.EventType)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log holds %v, want %v", got, want)
	}
	verifyAuditLog(t, c, log)
	annals(t, append([]string{"replay", "--all"}, database...)...).exits(exitDone).prints("switched")
	annals(t, append([]string{"replay", "--all", "--dry-run"}, database...)...).exits(exitDone).prints("no difference")
	c.get("/v1/orders/"+submitted.OrderID, last).is(http.StatusOK).into(&order)
	if order.Status != "cancelled" {
		t.Errorf("after the replay the order is %s", order.Status)
	}
	server.stop()
}
