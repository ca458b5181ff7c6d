package kpialerts

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"annals/domain/manufacturing/kpi"
	"annals/projections"
)

// end ends the alerts that recoveries and removals of their thresholds follow. An alert that has ended stays as it is, so
// that events may come again.
func end(ctx context.Context, tx projections.Tx, events []projections.Event) error {
	var thresholds, times []string
	var positions []int64
	for _, e := range events {
		switch e.Payload.(type) {
		case kpi.ThresholdRecovered, kpi.ThresholdRemoved:
			thresholds = append(thresholds, e.AggregateID.String())
			times = append(times, e.OccurredAt.UTC().Format(time.RFC3339Nano))
			positions = append(positions, e.Position)
		}
	}
	if len(positions) == 0 {
		return nil
	}
	alerts := tx.Table(table)
	_, err := tx.ExecContext(ctx, `
		UPDATE `+alerts+` AS a SET recovered_at = f.at, ended_position = f.position
		FROM (SELECT DISTINCT ON (o.id) o.id, u.at, u.position
			FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS u (threshold_id, at, position)
			JOIN `+alerts+` o ON o.threshold_id = u.threshold_id AND o.position < u.position
			WHERE o.recovered_at IS NULL
			ORDER BY o.id, u.position) f
		WHERE a.id = f.id`, pq.Array(thresholds), pq.Array(times), pq.Array(positions))
	if err != nil {
		return fmt.Errorf("end alerts: %w", err)
	}
	return nil
}
