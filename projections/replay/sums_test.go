package replay

import (
	"encoding/json"

	"annals/projections"
)

// sumRow is a row of the fold.
type sumRow struct {
	Client string          `db:"client_id,key"`
	Key    string          `db:"key,key"`
	Total  int64           `db:"total"`
	Events int64           `db:"events"`
	Last   int64           `db:"last_position"`
	Data   json.RawMessage `db:"data"`
}

type sumKey struct{ Client, Key string }

// sums is a fold as read models write it.
func sums() projections.Projector {
	return projections.MustFold(projections.FoldConfig[sumKey, sumRow]{
		Spec: projections.Spec{Name: "sums", Version: 1, Kind: projections.KindReadModel, DDL: `
			CREATE TABLE sums (client_id text NOT NULL, key text NOT NULL, total bigint NOT NULL, events bigint NOT NULL,
				last_position bigint NOT NULL, data json NOT NULL, PRIMARY KEY (client_id, key));
			CREATE INDEX sums_total_idx ON sums (client_id, total)`},
		Table: "sums",
		Keys: func(e projections.Event, keys []sumKey) []sumKey {
			if p, ok := e.Payload.(counted); ok {
				keys = append(keys, sumKey{e.ClientID, p.Key})
			}
			return keys
		},
		Step: func(_ sumKey, row *sumRow, e projections.Event) (projections.Outcome, error) {
			row.Total, row.Events, row.Data = row.Total+e.Payload.(counted).Amount, row.Events+1, e.Data
			return projections.Write, nil
		},
	})
}
