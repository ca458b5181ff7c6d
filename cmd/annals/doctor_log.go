package main

import (
	"context"
	"database/sql"
	"fmt"

	"annals/projections"
)

func (x *examination) log(ctx context.Context) {
	var head, events int64
	err := x.db.QueryRowContext(ctx, `SELECT coalesce(max(position), 0), coalesce(max(position) - min(position) + 1, 0)
		FROM annals.events`).Scan(&head, &events)
	if err != nil {
		x.failed("log", err)
		return
	}
	x.add("log", head == events, "the head is at position %d", head)
}

// appendOnly looks whether the triggers stand that refuse changes of events and of the Merkle tree.
func (x *examination) appendOnly(ctx context.Context) {
	var missing sql.NullString
	err := x.db.QueryRowContext(ctx, `SELECT string_agg(w.name, ', ' ORDER BY w.name)
		FROM (VALUES ('events_append_only', 'annals.events'), ('integrity_tiles_append_only', 'annals.integrity_tiles')) AS w (name, relation)
		WHERE NOT EXISTS (SELECT FROM pg_trigger t
			WHERE t.tgrelid = w.relation::regclass AND t.tgname = w.name AND t.tgenabled IN ('O', 'A'))`).Scan(&missing)
	switch {
	case err != nil:
		x.failed("append-only", err)
	case missing.Valid:
		x.add("append-only", false, "missing or disabled: the trigger %s; history can be changed", missing.String)
	default:
		x.add("append-only", true, "changes of recorded events are refused")
	}
}

// sealing looks how far the Merkle tree and its signed checkpoints are. A server signs about once a second.
func (x *examination) sealing(ctx context.Context) {
	var head, sealed, signed int64
	var keys int
	err := x.db.QueryRowContext(ctx, `SELECT (SELECT coalesce(max(position), 0) FROM annals.events), size,
		(SELECT coalesce(max(size), 0) FROM annals.integrity_checkpoints),
		(SELECT count(*) FROM annals.integrity_keys WHERE status = 'active') FROM annals.integrity_log`).
		Scan(&head, &sealed, &signed, &keys)
	switch {
	case err != nil:
		x.failed("sealing", err)
	case sealed > head || signed > sealed:
		x.add("sealing", false, "%d events are sealed and %d signed, of %d: the log or its tree lost its end", sealed, signed, head)
	case keys == 0 && sealed > 0:
		x.add("sealing", false, "%d of %d events are sealed, and no key signs them: the next start of a server makes one", sealed, head)
	case sealed-signed > doctorUnsigned:
		x.add("sealing", false, "%d of %d events are sealed, and only %d are signed: no server can open the signing key", sealed, head, signed)
	default:
		x.add("sealing", true, "%d of %d events are sealed, %d are under a signed checkpoint", sealed, head, signed)
	}
}

func (x *examination) projections(ctx context.Context) {
	rows, err := x.db.QueryContext(ctx, `SELECT s.name, s.version, s.kind, s.status, s.position, h.head - s.position, coalesce(s.failure_position, 0), coalesce(s.failure_error, '')
		FROM annals.subscribers s, (SELECT coalesce(max(position), 0) AS head FROM annals.events) h ORDER BY s.name, s.version`)
	if err != nil {
		x.failed("projections", err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var name, kind, status, failure string
		var version int
		var position, lag, failedAt int64
		if err := rows.Scan(&name, &version, &kind, &status, &position, &lag, &failedAt, &failure); err != nil {
			x.failed("projections", err)
			return
		}
		check := fmt.Sprintf("%s v%d", name, version)
		switch {
		case lag < 0:
			x.add(check, false, "at position %d, %d above the head: the log lost its tail", position, -lag)
		case status == string(projections.StatusFailed):
			x.add(check, false, "failed at position %d: %s; see 'annals projections failures %s'", failedAt, failure, name)
		case status == string(projections.StatusRunning) && kind != string(projections.KindPolicy) && lag > doctorProjectionLag:
			x.add(check, false, "running, %d events behind: is a server running?", lag)
		default:
			x.add(check, true, "%s at position %d, %d behind", status, position, lag)
		}
	}
	if err := rows.Err(); err != nil {
		x.failed("projections", err)
	}
}
