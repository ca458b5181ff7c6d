package evidence

import (
	"context"
	"encoding/json"
	"fmt"

	"annals/domain"
	"annals/eventstore"
	"annals/eventstore/integrity"
)

// ErasureReceipt is the type of the events that say that a subject's keys were destroyed.
const ErasureReceipt = "subject.erased"

// erasedKey is a key that was destroyed.
type erasedKey struct {
	client string
	key    domain.ID
}

// receipts are the positions of the receipts of keys that were destroyed.
type receipts map[erasedKey]int64

// readReceipts reads the receipts up to a position.
func readReceipts(ctx context.Context, records *integrity.Records, to int64) (receipts, error) {
	found := receipts{}
	selection := integrity.Selection{Client: eventstore.AllClients, EventTypes: []string{ErasureReceipt}, To: to}
	err := records.Each(ctx, selection, func(r integrity.Record) error {
		var receipt struct {
			KeyIDs []domain.ID `json:"key_ids"`
		}
		if err := json.Unmarshal(r.Data, &receipt); err != nil {
			return fmt.Errorf("%w: position %d: %w", integrity.ErrDamaged, r.Position, err)
		}
		for _, key := range receipt.KeyIDs {
			found[erasedKey{r.ClientID, key}] = r.Position
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the receipts of erasures: %w", err)
	}
	return found, nil
}

// of gives the position of the last receipt for an event's data; 0: some of it, or all, can still be read.
func (r receipts) of(e *integrity.Record) (position int64) {
	if len(r) == 0 {
		return 0
	}
	for _, key := range eventstore.SealedWith(e.Data) {
		receipt, erased := r[erasedKey{e.ClientID, key}]
		if !erased {
			return 0
		}
		position = max(position, receipt)
	}
	return position
}
