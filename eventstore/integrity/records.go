package integrity

import (
	"context"
	"fmt"

	"annals/domain"
	"annals/eventstore"
)

// Records reads events with what their leaves commit to, for those who may see them.
type Records struct{ tenants *eventstore.Tenants }

// NewRecords makes a reader of events of one client at a time, or of all.
func NewRecords(tenants *eventstore.Tenants) *Records { return &Records{tenants: tenants} }

const selectRecords = `SELECT position, event_id, event_type, schema_version, aggregate_type, aggregate_id,
	aggregate_version, client_id, actor_id, occurred_at, recorded_at, correlation_id, causation_id, request_id, data,
	metadata, leaf_version, data_salt, metadata_salt FROM annals.events WHERE `

// Record gives one event of a client (eventstore.AllClients: of any), or a not-found refusal.
func (r *Records) Record(ctx context.Context, client string, position int64) (Record, error) {
	found, err := r.read(ctx, client, `position = $1`, position)
	if err != nil {
		return Record{}, fmt.Errorf("read the event at %d: %w", position, err)
	}
	if len(found) == 0 {
		return Record{}, domain.Refuse(domain.CodeNotFound, "there is no event at position %d", position)
	}
	return found[0], nil
}

// Page gives the events of a client (eventstore.AllClients: of all) with after < position <= upTo, in order.
func (r *Records) Page(ctx context.Context, client string, after, upTo int64) ([]Record, error) {
	found, err := r.read(ctx, client, `position > $1 AND position <= $2 ORDER BY position`, after, upTo)
	if err != nil {
		return nil, fmt.Errorf("read the events after %d: %w", after, err)
	}
	return found, nil
}

func (r *Records) read(ctx context.Context, client, condition string, args ...any) (records []Record, err error) {
	if client != eventstore.AllClients { // named here too, although row-level security does so
		args = append(args, client)
		condition = fmt.Sprintf("client_id = $%d AND ", len(args)) + condition
	}
	_, _, err = r.eachOf(ctx, client, condition, args, func(e Record) error {
		records = append(records, e)
		return nil
	})
	return records, err
}
