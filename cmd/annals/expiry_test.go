package main

import (
	"fmt"
	"net/http"
	"testing"
)

// An idle cart expires once, whichever of two servers looks, and gives back what it held.
func TestIdleCartsExpireOnce(t *testing.T) {
	t.Parallel()
	n := twoNodes(t, "--cart-lifetime", "1s", "--cart-sweep-interval", "200ms")
	product := n.callers[0].product("held", 10)
	var carts []string
	for i := range 2 { // the second one's expiry shows that the sweeps went on after the first one's
		cart := n.callers[i].send("POST", "/v1/carts", `{}`).is(http.StatusCreated).done().ID
		last := n.callers[i].send("POST", "/v1/carts/"+cart+"/items", item(product, 3)).is(http.StatusOK).done().Position
		carts = append(carts, cart)
		n.callers[1-i].events("/v1/events", last+2) // its expiry and the stock's release
	}
	log := n.servers[0].everyone().events("/v1/events", 0)
	counts := make(map[string]int)
	for _, e := range log {
		counts[e.EventType]++
	}
	want := map[string]int{"product.registered": 1, "cart.created": 2, "cart.item_added": 2, "product.stock_reserved": 2,
		"cart.expired": 2, "product.stock_released": 2}
	for event, times := range want {
		if counts[event] != times {
			t.Errorf("%d events %s, want %d", counts[event], event, times)
		}
	}
	position := int64(len(log))
	if got := n.callers[0].stock(product, position); got != (stock{Available: 10}) {
		t.Errorf("after the carts expired there is %+v", got)
	}
	for _, cart := range carts {
		var shown struct{ Status string }
		n.callers[1].get("/v1/carts/"+cart, position).is(http.StatusOK).into(&shown)
		r := n.callers[0].send("POST", "/v1/carts/"+cart+"/items", item(product, 1))
		if shown.Status != "expired" || fmt.Sprint(r.status, " ", r.slug()) != "409 cart-closed" {
			t.Errorf("an expired cart is shown as %s, and answers %d %s", shown.Status, r.status, r.body)
		}
	}
	verifyAuditLog(t, n.servers[1].everyone(), log)
	annals(t, append([]string{"replay", "--all", "--dry-run"}, n.database...)...).exits(exitDone)
}
