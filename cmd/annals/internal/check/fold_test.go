package check

import (
	"context"
	"fmt"
	"testing"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
)

// However many streams there are, the states that are kept stay within their bounds.
func TestStatesAreBounded(t *testing.T) {
	t.Parallel()
	registry, err := domain.NewRegistry(operations.Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ streams, bytes, kept int }{
		{streams: 3, bytes: 1 << 20, kept: 3}, {streams: 1000, bytes: 4 * entryBytes, kept: 3}, {streams: 1000, bytes: 1, kept: 1},
	} {
		folds := newFolds(nil, nil, registry, c.streams, c.bytes) // first events need nothing before them
		for n := range 50 {
			fault, err := folds.add(context.Background(), &decoded{event: operations.Paused{Name: "p", Version: 1}, Envelope: eventstore.Envelope{
				AggregateType: "projection", AggregateVersion: 1, AggregateID: domain.NameID(domain.ID{}, fmt.Sprint(n)), Data: []byte(`{"version":1}`),
			}})
			if fault != nil || err != nil {
				t.Fatal(fault, err)
			}
		}
		if folds.recent.Len() != c.kept || len(folds.byID) != c.kept || folds.size != c.kept*(entryBytes+len(`{"version":1}`)) {
			t.Errorf("%+v: %d streams, %d by id, %d bytes", c, folds.recent.Len(), len(folds.byID), folds.size)
		}
	}
}
