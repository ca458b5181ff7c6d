package main

import (
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"annals/eventstore/pgtest"
)

// With many times the callers that a server takes at once, it answers all of them, commands or refusals, loses nothing of
// what it took, and takes everything again when they have gone.
func TestOverload(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	server := serveHere(t, "--database-url", db.DSN, "--max-commands", "4")
	l := newLoad(t, server).start(64)
	for server.refusals() < 200 {
		l.progress(50)
	}
	l.halt()
	before := server.refusals()
	for i := range 5 {
		l.story(0, "after-"+strconv.Itoa(i), i)
	}
	if after := server.refusals(); after != before {
		t.Errorf("%d refusals after the load had gone", after-before)
	}
	l.finish(server, "--database-url", db.DSN)
}

var refusedCommands = regexp.MustCompile(`annals_http_requests_total\{method="POST",.*status="503"\} (\d+)`)

// refusals counts the commands that were answered with 503.
func (p *program) refusals() (n int) {
	p.t.Helper()
	r := p.everyone().send("GET", "/metrics", "").is(http.StatusOK)
	for _, m := range refusedCommands.FindAllSubmatch(r.body, -1) {
		count, err := strconv.Atoi(string(m[1]))
		if err != nil {
			p.t.Fatal(err)
		}
		n += count
	}
	return n
}
