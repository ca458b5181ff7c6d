package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// caller sends requests of one client to one server.
type caller struct {
	t      testing.TB
	url    string
	client string // "": none is named
	key    string // "": none is sent
	http   *http.Client
}

// shop is the client whose commands the tests send.
const shop = "shop"

func newCaller(t testing.TB, url, client string) *caller {
	transport := &http.Transport{MaxIdleConnsPerHost: 128}
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{t: t, url: url, client: client, http: &http.Client{Transport: transport, Timeout: patience}}
}

// caller speaks to the server as a client of it.
func (p *program) caller(client string) *caller { return newCaller(p.t, p.url, client) }

// everyone speaks to the server as an auditor of all clients.
func (p *program) everyone() *caller { return newCaller(p.t, p.url, "*") }

// reply is an answer that was read to its end.
type reply struct {
	t       testing.TB
	request string
	status  int
	header  http.Header
	body    []byte
}

// try sends a request; headers are "Name: value".
func (c *caller) try(ctx context.Context, method, path, body string, headers ...string) (*reply, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.client != "" {
		r.Header.Set("Annals-Client", c.client)
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &reply{t: c.t, request: method + " " + path, status: response.StatusCode, header: response.Header, body: data}, nil
}

// send sends a request that must be answered.
func (c *caller) send(method, path, body string, headers ...string) *reply {
	c.t.Helper()
	r, err := c.try(context.Background(), method, path, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// get reads something that has applied everything up to a position, however long that takes.
func (c *caller) get(path string, position int64, headers ...string) *reply {
	c.t.Helper()
	headers = append([]string{"Annals-Min-Position: " + strconv.FormatInt(position, 10), "Prefer: wait=30"}, headers...)
	for deadline := time.Now().Add(patience); ; {
		r := c.send("GET", path, "", headers...)
		if r.status != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return r
		}
	}
}

// is requires a status.
func (r *reply) is(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: status %d, want %d: %s", r.request, r.status, status, r.body)
	}
	return r
}

// slug gives the last part of a problem's type.
func (r *reply) slug() string {
	var p struct{ Type string }
	if err := json.Unmarshal(r.body, &p); err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	return strings.TrimPrefix(p.Type, "/problems/")
}

func (r *reply) into(v any) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		r.t.Fatalf("%s: %v: %s", r.request, err, r.body)
	}
}

// done gives what a command did.
func (r *reply) done() result {
	r.t.Helper()
	var done result
	r.into(&done)
	return done
}

// result is the answer of a command.
type result struct {
	ID       string `json:"id"`
	OrderID  string `json:"order_id"`
	Version  int64  `json:"version"`
	Position int64  `json:"position"`
	Events   []struct {
		EventID   string `json:"event_id"`
		EventType string `json:"event_type"`
		Position  int64  `json:"position"`
	} `json:"events"`
}

// event is what the tests look at of an envelope or a row of the audit log.
type event struct {
	Position  int64           `json:"position"`
	EventID   string          `json:"event_id"`
	EventType string          `json:"event_type"`
	ClientID  string          `json:"client_id"`
	ActorID   string          `json:"actor_id"`
	Data      json.RawMessage `json:"data"`
}

// events reads a stream of events to its end.
func (c *caller) events(path string, position int64) []event {
	c.t.Helper()
	r := c.get(path, position, "Accept: application/x-ndjson").is(http.StatusOK)
	var all []event
	for line := range strings.Lines(string(r.body)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			c.t.Fatalf("%s: %v: %s", r.request, err, line)
		}
		all = append(all, e)
	}
	return all
}

// auditLog reads the audit log, page by page, once it has reached a position.
func (c *caller) auditLog(position int64) []event {
	c.t.Helper()
	var all []event
	for path := "/v1/audit-log?limit=500"; ; {
		var page struct {
			Items      []event `json:"items"`
			NextCursor *string `json:"next_cursor"`
		}
		c.get(path, position).is(http.StatusOK).into(&page)
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all
		}
		path = "/v1/audit-log?limit=500&cursor=" + url.QueryEscape(*page.NextCursor)
	}
}

const address = `{"shipping_address":{"street_line_1":"1 Main St","city":"Springfield","postal_code":"62701","country":"US"}}`

// product registers a product and gives its id.
func (c *caller) product(sku string, stock int) string {
	c.t.Helper()
	return c.send("POST", "/v1/products", registration(sku, stock)).is(http.StatusCreated).done().ID
}

func registration(sku string, stock int) string {
	return fmt.Sprintf(`{"sku":%q,"name":"Product %s","price":"9.99","stock":%d}`, sku, sku, stock)
}

// item is the body that puts pieces of a product into a cart.
func item(product string, quantity int) string {
	return fmt.Sprintf(`{"product_id":%q,"quantity":%d}`, product, quantity)
}
