//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"annals/domain"
	"annals/eventstore/pgtest"
	"annals/eventstore/secretfile"
	"annals/eventstore/subjectkeys"
)

// Given persons in events; when they are erased, the next answer of every node, and everything that is in the database,
// is without them. What is in the database was without them before, and logs never say a word.
func TestErasedEverywhere(t *testing.T) {
	t.Parallel()
	receiver := newInbox(t)
	p := people(t, receiver.URL)
	before := p.shown()
	for person, texts := range persons {
		if missing := len(texts) - len(named(before, texts)); missing > 0 {
			t.Errorf("%d texts of %s aren't shown to begin with", missing, person)
		}
		if found := named(dumped(t, p.db)+p.logs(), texts); found != nil {
			t.Errorf("before the erasure the database or the log of a node holds %q", found)
		}
	}
	if found := named(receiver.seen(), persons["customer c-7"]); len(found) != 5 {
		t.Errorf("the receiver was only sent %q", found)
	}
	for person := range persons {
		kind, reference, hasReference := strings.Cut(person, " ")
		if !hasReference {
			reference = p.withNone
		}
		annals(t, append(p.database, "subjects", "erase", "--client", shop, "--kind", kind, "--subject", reference,
			"--reason", "asked to", "--yes")...).exits(0).prints("erased " + kind)
	}
	p.head = p.callers[0].head()
	receiver.open.Store(true)
	shown := p.shown() + <-receiver.took + <-receiver.took
	if strings.Contains(before+shown+receiver.seen(), "annals:sealed:") {
		t.Error("something is shown sealed")
	}
	after := shown + dumped(t, p.db) + p.logs()
	for person, texts := range persons {
		if found := named(after, texts); found != nil {
			t.Errorf("after the erasure of %s: %q", person, found)
		}
	}
	for _, want := range []string{`"city":"[erased]"`, `"customer_name":"[erased]"`, `"inspector":"[erased]"`, `"country":"DE"`, "subject.erased"} {
		if !strings.Contains(after, want) {
			t.Errorf("nothing shows %s", want)
		}
	}
	p.goesOn()
}

// goesOn sells to the erased customer again, who then is readable, ships the erased order, and replays the answer of its
// making.
func (p *peopled) goesOn() {
	p.t.Helper()
	c := p.callers[1]
	cart := c.send("POST", "/v1/carts", `{"customer_id":"c-7"}`).is(201).done().ID
	c.send("POST", "/v1/carts/"+cart+"/items", item(p.ids["/v1/products/"], 1)).is(200)
	again := c.send("POST", "/v1/carts/"+cart+"/submit", `{"shipping_address":{"street_line_1":"Neuweg 8","city":"Acht","postal_code":"8","country":"DE"}}`).is(200).done()
	if body := string(p.callers[0].get("/v1/orders/"+again.OrderID, again.Position).is(200).body); !strings.Contains(body, "Neuweg 8") {
		p.t.Errorf("a later order: %s", body)
	}
	shipped := c.send("POST", "/v1/orders/"+p.ids["/v1/orders/"]+"/ship", `{}`, "Prefer: return=representation").is(200)
	if !strings.Contains(string(shipped.body), `"street_line_1":"[erased]"`) {
		p.t.Errorf("the shipped order: %s", shipped.body)
	}
}

func (p *peopled) subjects(verb string, more ...string) *program {
	p.t.Helper()
	line := append([]string{"subjects", verb, "--client", shop, "--kind", "inspector", "--subject", "Inga Sieben"}, more...)
	return annals(p.t, append(line, p.database...)...)
}

// A hold keeps a subject readable until it is released. Each is on record once, with its reason and without a name.
func TestHoldBlocksErasure(t *testing.T) {
	t.Parallel()
	p := people(t, newInbox(t).URL)
	p.subjects("hold", "--reason", "case 7").exits(0).prints("is held")
	p.subjects("hold", "--reason", "case 7").exits(0)
	p.subjects("erase", "--reason", "asked to", "--yes").exits(exitFailed).says("a legal hold is in force")
	p.subjects("show").exits(0).prints("held", "Inga Sieben")
	if body := string(p.callers[1].send("GET", "/v1/quality-inspections", "").is(200).body); !strings.Contains(body, "Inga Sieben") {
		t.Errorf("on hold: %s", body)
	}
	p.subjects("release", "--reason", "case 7 is closed").exits(0)
	p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("erased inspector")
	p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("was erased already")
	p.subjects("show").exits(0).prints("erased")
	export := annals(t, append(p.database, "events", "export", "--aggregate-type", "subject")...).exits(0).stdout.String()
	var types []string
	for line := range strings.Lines(export) {
		var e struct {
			EventType string         `json:"event_type"`
			ClientID  string         `json:"client_id"`
			Data      map[string]any `json:"data"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ClientID != shop || e.Data["reason"] == "" {
			t.Errorf("on record: %s %v", line, err)
		}
		types = append(types, e.EventType)
	}
	if want := []string{"subject.hold_placed", "subject.hold_released", "subject.erased"}; !slices.Equal(types, want) || strings.Contains(export, "Inga") {
		t.Errorf("on record are %v: %s", types, export)
	}
}

// Given an erasure that ended between its steps; when it is run again, it gives exactly one receipt.
func TestErasureIsCompleted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ receipted bool }{"without a receipt": {false}, "with one that isn't noted": {true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := people(t, newInbox(t).URL)
			keys := p.keys()
			subject := domain.Subject{Kind: "inspector", Reference: "Inga Sieben"}
			if _, err := keys.Erase(t.Context(), shop, subject); err != nil {
				t.Fatal(err)
			}
			p.subjects("show").exits(0).prints("receipt missing")
			if c.receipted {
				p.subjects("erase", "--reason", "asked to", "--yes").exits(0)
				p.db.MustExec(`UPDATE annals_keys.keys SET receipt_position = NULL`)
			}
			p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("erased inspector", "the receipt is event")
			p.subjects("erase", "--reason", "asked to", "--yes").exits(0).prints("erased already")
			var receipts int
			if err := p.db.Get(&receipts, `SELECT count(*) FROM annals.events WHERE event_type = 'subject.erased'`); err != nil || receipts != 1 {
				t.Errorf("%d receipts, %v", receipts, err)
			}
		})
	}
}

// keys opens the keys as the servers do.
func (p *peopled) keys() *subjectkeys.Keys {
	p.t.Helper()
	secret, err := secretfile.Source{File: lookupEnv("ANNALS_SUBJECT_KEYS_FILE")}.Read(false)
	if err != nil {
		p.t.Fatal(err)
	}
	keys, err := subjectkeys.Open(p.t.Context(), p.db.DSN, subjectkeys.Secret{Text: secret.Text, Random: secret.Random})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { keys.Close() })
	return keys
}

// The keys can be in another database and under a passphrase. A server with another one doesn't start, and tools show what
// they can't open sealed.
func TestKeysApart(t *testing.T) {
	t.Parallel()
	log, keys := pgtest.New(t), pgtest.NewEmpty(t)
	database := []string{"--database-url", log.DSN}
	apart := append(database, "--subject-keys-url", keys.DSN, "--subject-keys-passphrase")
	server := serveHere(t, append(apart, "correct horse")...)
	c := server.caller(shop)
	order := c.send("POST", "/v1/work-orders", `{"number":"WO-1","product_code":"P","customer_name":"Sieben AG",`+
		`"quantity_ordered":5,"received_on":"2026-01-05","due_on":"2026-01-30"}`).is(201).done().ID
	if body := string(c.send("GET", "/v1/work-orders/"+order, "").is(200).body); !strings.Contains(body, "Sieben AG") {
		t.Errorf("with the keys: %s", body)
	}
	var made int
	if err := log.Get(&made, `SELECT count(*) FROM annals_keys.keys`); err != nil || made != 0 {
		t.Errorf("the log's database has %d keys, %v", made, err)
	}
	annals(t, append(apart, "battery staple", "serve", "--addr", "127.0.0.1:0")...).exits(exitFailed).says("another passphrase or key file")
	wrong := annals(t, append(apart, "battery staple", "events", "export", "--client", shop)...).exits(0).says("shown sealed").prints("annals:sealed:1:")
	if strings.Contains(wrong.stdout.String(), "Sieben") {
		t.Errorf("with a wrong passphrase: %s", wrong.stdout)
	}
	annals(t, append(apart, "correct horse", "events", "export", "--client", shop)...).exits(0).prints("Sieben AG")
	annals(t, append(database, "subjects", "list")...).exits(exitFailed).says("no personal text has been recorded yet")
	annals(t, append(apart, "correct horse", "subjects", "list")...).exits(0).prints("Sieben AG", "customer_name")
	annals(t, append(apart, "correct horse", "serve", "--print-config")...).exits(0).prints("subject-keys-passphrase=xxxxx")
}
