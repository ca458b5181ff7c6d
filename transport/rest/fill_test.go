package rest_test

// fillLog writes many events into the log, past the event store: carts of customers with a name.
func (b *bench) fillLog(total int, customer string) {
	b.t.Helper()
	_, err := b.db.Exec(`
		INSERT INTO annals.events (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at, schema_version,
			event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id, data, metadata, data_salt,
			metadata_salt)
		SELECT h.head + n, md5('event ' || h.head + n)::uuid, md5('cart ' || h.head + n)::uuid, 1, now(), now(), 1, 'cart.created', 'cart',
			'default', 'filler', 'request', 'command', 'request', json_build_object('customer_id', $2::text), '{}', '', ''
		FROM (SELECT coalesce(max(position), 0) AS head FROM annals.events) h, generate_series(1, $1::bigint) n`, total, customer)
	check(b.t, err)
}
