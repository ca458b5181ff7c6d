package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"annals/eventstore/pgtest"
)

// nodes are servers on one database.
type nodes struct {
	t        *testing.T
	database []string // flags
	servers  []*program
	callers  []*caller // of the servers, by the same index
	db       *pgtest.DB
}

// twoNodes starts two servers of this process on a database of the test's own.
func twoNodes(t *testing.T, flags ...string) *nodes {
	t.Helper()
	n := &nodes{t: t, db: pgtest.New(t)}
	n.database = []string{"--database-url", n.db.DSN}
	for range 2 {
		n.add(serveHere(t, append(flags, n.database...)...))
	}
	return n
}

func (n *nodes) add(server *program) {
	n.servers = append(n.servers, server)
	n.callers = append(n.callers, server.caller(shop))
}

// race sends a request from each of many callers at the same instant, in turn over the servers, and gives the answers.
// Every caller has an idempotency key that begins with name.
func (n *nodes) race(name string, callers int, request func(i int) (method, path, body string)) []*reply {
	n.t.Helper()
	replies := make([]*reply, callers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			method, path, body := request(i)
			<-start
			r, err := n.callers[i%len(n.callers)].try(n.t.Context(), method, path, body, fmt.Sprintf("Idempotency-Key: %s-%d", name, i))
			if err != nil {
				n.t.Errorf("%s %s: %v", method, path, err)
				r = &reply{}
			}
			replies[i] = r
		})
	}
	close(start)
	wg.Wait()
	return replies
}

// outcomes counts answers by their status and, of refusals, their slug.
func outcomes(replies []*reply) map[string]int {
	counts := make(map[string]int)
	for _, r := range replies {
		what := fmt.Sprint(r.status)
		if r.status >= 300 {
			what += " " + r.slug()
		}
		counts[what]++
	}
	return counts
}

// results keeps what the commands of a race did, for verifyLog.
func results(into map[string]result, name string, replies []*reply) {
	for i, r := range replies {
		if r.status < 300 {
			into[fmt.Sprintf("%s-%d", name, i)] = r.done()
		}
	}
}

func requireOutcomes(t *testing.T, what string, replies []*reply, want map[string]int) {
	t.Helper()
	if got := outcomes(replies); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// stock is what a product's representation says of it.
type stock struct{ Available, Reserved int64 }

func (c *caller) stock(product string, position int64) stock {
	c.t.Helper()
	var p struct{ Stock stock }
	c.get("/v1/products/"+product, position).is(http.StatusOK).into(&p)
	return p.Stock
}

// head gives the log's last position.
func (c *caller) head() int64 {
	c.t.Helper()
	var page struct{ Head int64 }
	c.send("GET", "/v1/events?limit=1", "").is(http.StatusOK).into(&page)
	return page.Head
}

// Callers that race over two servers never sell more than there is, are never turned away for the race itself, and of
// one unique name there is one owner.
func TestRacesOverTwoNodes(t *testing.T) {
	t.Parallel()
	n := twoNodes(t)
	done := make(map[string]result)
	register := n.callers[0].send("POST", "/v1/products", registration("scarce", 25)).is(http.StatusCreated).done()
	done["scarce"] = register
	carts := n.race("cart", 40, func(int) (string, string, string) { return "POST", "/v1/carts", `{}` })
	requireOutcomes(t, "40 new carts", carts, map[string]int{"201": 40})
	results(done, "cart", carts)
	added := n.race("item", 40, func(i int) (string, string, string) {
		return "POST", "/v1/carts/" + carts[i].done().ID + "/items", item(register.ID, 1)
	})
	requireOutcomes(t, "40 carts for 25 pieces", added, map[string]int{"200": 25, "409 insufficient-stock": 15})
	results(done, "item", added)
	for i, c := range n.callers {
		if got := c.stock(register.ID, n.callers[0].head()); got != (stock{Available: 0, Reserved: 25}) {
			t.Errorf("node %d shows %+v", i, got)
		}
	}
	popular := n.callers[1].send("POST", "/v1/products", registration("popular", 0)).is(http.StatusCreated).done()
	done["popular"] = popular
	received := n.race("receipt", 128, func(int) (string, string, string) {
		return "POST", "/v1/products/" + popular.ID + "/stock-receipts", `{"quantity":1}`
	})
	requireOutcomes(t, "128 callers on one product", received, map[string]int{"200": 128})
	results(done, "receipt", received)
	if got := n.callers[0].stock(popular.ID, n.callers[0].head()); got != (stock{Available: 128}) {
		t.Errorf("after 128 receipts of one piece there is %+v", got)
	}
	unique := n.race("unique", 16, func(i int) (string, string, string) {
		return "POST", "/v1/products", fmt.Sprintf(`{"sku":"one","name":"Name %d","price":"1.00"}`, i)
	})
	requireOutcomes(t, "16 products of one sku", unique, map[string]int{"201": 1, "409 duplicate-sku": 15})
	results(done, "unique", unique)
	verifyLog(t, n.servers[0], done, n.database...)
}

// What a server remembers of a product is no reason to fail over what happened to it on another server.
func TestCommandsOnWhatTheOtherNodeDid(t *testing.T) {
	t.Parallel()
	n := twoNodes(t)
	product := n.callers[0].product("p", 10)
	for i := range 2 {
		there, here := n.callers[1-i], n.callers[i]
		cart := there.send("POST", "/v1/carts", `{}`).is(http.StatusCreated).done().ID
		there.send("POST", "/v1/carts/"+cart+"/items", item(product, 4)).is(http.StatusOK)
		here.send("DELETE", "/v1/carts/"+cart+"/items/"+product, "").is(http.StatusOK)
		there.send("POST", "/v1/carts/"+cart+"/items", item(product, 7)).is(http.StatusOK)
		order := here.send("POST", "/v1/carts/"+cart+"/submit", address).is(http.StatusOK).done().OrderID
		there.send("POST", "/v1/orders/"+order+"/cancel", `{}`).is(http.StatusOK)
	}
	if got := n.callers[0].stock(product, n.callers[0].head()); got != (stock{Available: 10}) {
		t.Errorf("in the end there is %+v", got)
	}
}

// A command that is repeated on the other node, or on both at once, takes effect once.
func TestIdempotencyKeyOverTwoNodes(t *testing.T) {
	t.Parallel()
	n := twoNodes(t)
	product := n.callers[0].product("p", 0)
	replies := make([]*reply, 16)
	var wg sync.WaitGroup
	for i := range replies {
		wg.Go(func() {
			r, err := n.callers[i%2].try(t.Context(), "POST", "/v1/products/"+product+"/stock-receipts", `{"quantity":1}`,
				"Idempotency-Key: same")
			if err != nil {
				t.Errorf("repeat %d: %v", i, err)
				r = &reply{}
			}
			replies[i] = r
		})
	}
	wg.Wait()
	requireOutcomes(t, "16 repeats of one command", replies, map[string]int{"200": 16})
	first := 0
	for _, r := range replies {
		if r.header.Get("Idempotency-Replayed") != "true" {
			first++
		}
		if string(r.body) != string(replies[0].body) {
			t.Errorf("answers differ: %s and %s", r.body, replies[0].body)
		}
	}
	if got := n.callers[0].stock(product, n.callers[0].head()); first != 1 || got.Available != 1 {
		t.Errorf("%d answers aren't replays, and the stock is %+v", first, got)
	}
}
