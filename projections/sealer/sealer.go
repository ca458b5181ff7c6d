// Package sealer is the subscriber that adds each event to the Merkle tree. It is no read model: what it wrote is never
// rebuilt, and it leaves out nothing.
package sealer

import (
	"context"
	"time"

	"annals/eventstore/integrity"
	"annals/projections"
)

// Name is the subscriber's name.
const Name = "sealer"

// pause lets events gather: the tree's open edge, some kilobytes, is written once for each page.
const pause = 200 * time.Millisecond

// Sealer implements projections.Projector. Its position and the tree's size are the same number.
type Sealer struct{}

// New makes the subscriber.
func New() Sealer { return Sealer{} }

// Spec implements projections.Projector.
func (Sealer) Spec() projections.Spec {
	return projections.Spec{Name: Name, Version: 1, Kind: projections.KindSealer, Raw: true, Pause: pause}
}

// Apply implements projections.Projector: it seals the page in the transaction that moves the checkpoint. Events that
// don't continue the tree are an error.
func (Sealer) Apply(ctx context.Context, tx projections.Tx, page projections.Page) error {
	records := make([]integrity.Record, len(page.Events))
	for i, e := range page.Events {
		records[i] = integrity.Record{
			Envelope: e.Envelope, LeafVersion: e.Seal.LeafVersion, DataSalt: e.Seal.DataSalt, MetadataSalt: e.Seal.MetadataSalt,
		}
	}
	return integrity.Seal(ctx, tx, records)
}
