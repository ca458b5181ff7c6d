package main

import (
	"testing"
	"time"

	"annals/eventstore"
	"annals/eventstore/embedded"
	"annals/eventstore/integrity"
)

// verifySeal requires that the log is sealed up to its head, with the root that its events have.
func verifySeal(t *testing.T, head int64, database ...string) {
	t.Helper()
	dsn := database[1]
	if database[0] == "--data-dir" {
		var err error
		if dsn, err = embedded.Locate(dsn); err != nil {
			t.Fatal(err)
		}
	}
	db, err := eventstore.OpenDB(dsn, eventstore.RoleApp, 2, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, log := t.Context(), integrity.NewLog(db)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if size, err := log.Size(ctx); err != nil || time.Now().After(deadline) {
			t.Fatalf("the log is sealed up to %d of %d: %v", size, head, err)
		} else if size >= head {
			break
		}
	}
	sealed, err := log.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	records, err := integrity.NewRecords(eventstore.NewTenants(db)).Page(ctx, eventstore.AllClients, 0, sealed.Size())
	if err != nil {
		t.Fatal(err)
	}
	var tree integrity.Tree
	for _, r := range records {
		leaf, err := r.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		hash, err := leaf.Hash()
		if err != nil {
			t.Fatal(err)
		}
		tree.Append(hash, nil)
	}
	if tree.Size() != sealed.Size() || tree.Root() != sealed.Root() {
		t.Errorf("the tree of %d events has the root %x; sealed are %d with %x", tree.Size(), tree.Root(), sealed.Size(), sealed.Root())
	}
}
