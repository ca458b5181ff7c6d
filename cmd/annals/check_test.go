//go:build !race

// These tests go step by step: the race detector would only make them slow.

package main

import (
	"encoding/json"
	"net"
	"os"
	"testing"

	"annals/cmd/annals/internal/check"
	"annals/domain/commerce/cart"
	"annals/eventstore/pgtest"
	"annals/projections/projectionstest"
)

// A pipeline learns from the exit code that the log holds what this program can't work with, and from the output what.
func TestCheckBeforeDeployment(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	registry, err := newRegistry()
	if err != nil {
		t.Fatal(err)
	}
	events := projectionstest.Record(t, registry, 0,
		projectionstest.Fact{Stream: projectionstest.StreamID(1), Event: cart.Created{}},
		projectionstest.Fact{Stream: projectionstest.StreamID(2), Event: cart.Created{}})
	projectionstest.Insert(t, db.DB, events[0])
	annals(t, "check", "--database-url", db.DSN).exits(exitDone).prints("cart.created", "1 events checked", " 0 failed")
	events[1].SchemaVersion = 7
	projectionstest.Insert(t, db.DB, events[1])
	annals(t, "check", "--database-url", db.DSN).exits(exitFailed).says("can't work with").
		prints("position 2, event "+events[1].EventID.String()+": unknown event: cart.created in schema version 7", " 1 failed")
	var report check.Report
	p := annals(t, "check", "--output", "json", "--from", "2", "--database-url", db.DSN).exits(exitFailed)
	if err := json.Unmarshal([]byte(p.stdout.String()), &report); err != nil || report.Failed != 1 || report.Types[0].First.SchemaVersion != 7 {
		t.Errorf("%v: %s", err, p.stdout)
	}
	annals(t, "check", "--until", "1", "--database-url", db.DSN).exits(exitDone)
}

// A port in use is told before anything is started.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := pgtest.DataDir(t)
	annals(t, "serve", "--addr", taken.Addr().String(), "--data-dir", dir).exits(exitFailed).says("address already in use")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("something was started: %v, %v", left, err)
	}
}
