package main

import (
	"context"
	"database/sql"
	"fmt"

	"annals/projections"
)

// log looks for events that are missing. annals check reads all of a log that is longer than this looks through.
func (x *examination) log(ctx context.Context) {
	var low, head, events int64
	err := x.db.QueryRowContext(ctx, `
		WITH log AS (SELECT coalesce(max(position), 0) AS head FROM annals.events), span AS (SELECT greatest(head - $1, 0) AS low, head FROM log)
		SELECT low, head, (SELECT count(*) FROM annals.events WHERE position > low AND position <= head) FROM span`, doctorLogSpan).
		Scan(&low, &head, &events)
	if err != nil {
		x.failed("log", err)
		return
	}
	if events == head-low {
		x.add("log", true, "the head is at position %d", head)
		return
	}
	var first int64
	err = x.db.QueryRowContext(ctx, `
		SELECT p.position + 1 FROM (SELECT $1::bigint UNION ALL SELECT position FROM annals.events WHERE position > $1) AS p (position)
		WHERE NOT EXISTS (SELECT FROM annals.events n WHERE n.position = p.position + 1) ORDER BY p.position LIMIT 1`, low).Scan(&first)
	if err != nil {
		x.failed("log", err)
		return
	}
	x.add("log", false, "missing: %d of the events below the head, the first of them at position %d; the head is at position %d",
		head-low-events, first, head)
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
	var pending string
	err := x.db.QueryRowContext(ctx, `SELECT (SELECT coalesce(max(position), 0) FROM annals.events), size,
		(SELECT coalesce(max(size), 0) FROM annals.integrity_checkpoints),
		(SELECT count(*) FROM annals.integrity_keys WHERE status = 'active'),
		coalesce((SELECT max(verifier_key) FROM annals.integrity_keys
			WHERE status = 'pending' AND created_at < clock_timestamp() - make_interval(secs => $1)), '') FROM annals.integrity_log`,
		doctorRotation.Seconds()).Scan(&head, &sealed, &signed, &keys, &pending)
	switch {
	case err != nil:
		x.failed("sealing", err)
	case sealed > head || signed > sealed:
		x.add("sealing", false, "%d events are sealed and %d signed, of %d: the log or its tree lost its end", sealed, signed, head)
	case keys == 0 && sealed > 0:
		x.add("sealing", false, "%d of %d events are sealed, and no key signs them: the next start of a server makes one", sealed, head)
	case sealed-signed > doctorUnsigned:
		x.add("sealing", false, "%d of %d events are sealed, and only %d are signed: no server can open the signing key", sealed, head, signed)
	case pending != "":
		x.add("sealing", false, "the rotation to the key %s was interrupted: repeat it, or start a server that has that key", pending)
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
		var s subscriber
		if err := rows.Scan(&s.name, &s.version, &s.kind, &s.status, &s.position, &s.lag, &s.failedAt, &s.failure); err != nil {
			x.failed("projections", err)
			return
		}
		ok, detail := s.judge()
		x.add(fmt.Sprintf("%s v%d", s.name, s.version), ok, "%s", detail)
	}
	if err := rows.Err(); err != nil {
		x.failed("projections", err)
	}
}

// subscriber is what the doctor knows of a projection.
type subscriber struct {
	name     string
	version  int
	kind     projections.Kind
	status   projections.Status
	position int64
	lag      int64 // events behind the head
	failedAt int64 // position; 0: it hasn't failed
	failure  string
}

// judge says whether a projection is well. A paused one is what an operator wants. How far a policy is behind says little:
// a timer moves when it has something to do.
func (s subscriber) judge() (ok bool, detail string) {
	switch {
	case s.lag < 0:
		return false, fmt.Sprintf("at position %d, %d above the head: the log lost its tail", s.position, -s.lag)
	case s.status == projections.StatusFailed:
		return false, fmt.Sprintf("failed at position %d: %s; see 'annals projections failures %s'", s.failedAt, s.failure, s.name)
	case s.status == projections.StatusRunning && s.kind != projections.KindPolicy && s.lag > doctorProjectionLag:
		return false, fmt.Sprintf("running, %d events behind: is a server running?", s.lag)
	default:
		return true, fmt.Sprintf("%s at position %d, %d behind", s.status, s.position, s.lag)
	}
}
