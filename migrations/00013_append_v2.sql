-- +goose Up
-- append_v2 and append_one_v2 do what append_v1 and append_one_v1 do, which stay for programs of the release before. What the
-- sender knows it says: the events' ordinals, which cost a copy of each row to count, and their types, which cost a
-- second look at all of them to gather.

-- As append_event_v1, with ordinal, which counts the events of the batch from 1.
CREATE TYPE annals.append_event_v2 AS (
    request           integer,
    ordinal           integer,
    event_id          uuid,
    aggregate_id      uuid,
    aggregate_version bigint,
    occurred_at       timestamptz,
    schema_version    integer,
    event_type        text,
    aggregate_type    text,
    client_id         text,
    actor_id          text,
    correlation_id    text,
    causation_id      text,
    request_id        text,
    data              json,
    metadata          json,
    data_salt         bytea,
    metadata_salt     bytea
);

-- Appends the events of a batch of requests, each with all that belongs to it or not at all. No two requests of a batch
-- share a stream, a claim or a key. head is the highest position afterwards; the events of the requests that won follow
-- one another in the order given and end at head.
--
-- verdicts is null when every request won, else an array with one object per request that didn't append:
--   {"request", "verdict": "already", "first_position"}             its own events are in the log
--   {"request", "verdict": "replayed", "first_position", "result"}  its key is known with the same fingerprint
--   {"request", "verdict": "key_reused"}                            its key is known with another fingerprint
--   {"request", "verdict": "conflict", "versions": {id: version}}   the streams that aren't where expected
--   {"request", "verdict": "claim_taken", "ordinal"}                the first of its claims that another stream holds
--
-- types are the distinct types of the events, also of requests that are then refused, parted by spaces; listeners are told of
-- them unless they are null or many.
--
-- Its own errors: AN001, the log ends below known_head, a position that the caller has seen; 22023, the ordinals aren't 1, 2, …
-- READ COMMITTED is required: each statement after the lock needs a snapshot of its own.
-- +goose StatementBegin
CREATE FUNCTION annals.append_v2(
    known_head bigint,
    types      text,
    streams    annals.append_stream_v1[],
    events     annals.append_event_v2[],
    keys       annals.append_key_v1[],
    releases   annals.append_claim_v1[],
    claims     annals.append_claim_v1[],
    OUT head     bigint,
    OUT verdicts json
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    lost      integer[] := '{}'; -- requests that don't append
    moved     integer[];
    found_now json[];
    outcome   json[] := '{}';
    confirmed boolean := false;  -- some answer rests on what an earlier transaction wrote
    added     bigint;
    numbers   integer[];         -- by ordinal, among the events that are left; null: none was lost
    taken_at  timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(4703919738795935564);
    -- Bounded from below, as the probes of the streams are: a scan of an index takes all of a page that its condition admits.
    head := coalesce((SELECT e.position FROM annals.events e
                       WHERE e.position >= known_head ORDER BY e.position DESC LIMIT 1), 0);
    IF head < known_head THEN
        head := coalesce((SELECT e.position FROM annals.events e ORDER BY e.position DESC LIMIT 1), 0);
        RAISE EXCEPTION 'the log ends at position %, below position % that was acknowledged', head, known_head
            USING ERRCODE = 'AN001';
    END IF;

    IF cardinality(keys) > 0 THEN
        SELECT array_agg(k.request),
               array_agg(CASE
                   WHEN own.position IS NOT NULL THEN json_build_object(
                       'request', k.request, 'verdict', 'already', 'first_position', own.position)
                   WHEN i.fingerprint = k.fingerprint THEN json_build_object(
                       'request', k.request, 'verdict', 'replayed', 'first_position', coalesce(i.first_position, 0),
                       'result', i.result)
                   ELSE json_build_object('request', k.request, 'verdict', 'key_reused')
               END)
          INTO moved, found_now
          FROM unnest(keys) k
          JOIN annals.idempotency_keys i ON i.client_id = k.client_id AND i.scope = k.scope AND i.key = k.key
          LEFT JOIN annals.events own ON own.position = i.first_position
               AND k.first_event > 0 AND own.event_id = (events[nullif(k.first_event, 0)]).event_id;
        IF moved IS NOT NULL THEN
            lost := lost || moved;
            outcome := outcome || found_now;
            confirmed := true;
        END IF;
    END IF;

    SELECT array_agg(s.request)
      INTO moved
      FROM unnest(streams) s
      LEFT JOIN LATERAL (
          SELECT e.aggregate_version, e.client_id FROM annals.events e
           WHERE e.aggregate_id = s.aggregate_id AND e.aggregate_version >= s.expected
           ORDER BY e.aggregate_version DESC LIMIT 1) now ON true
     WHERE (coalesce(now.aggregate_version, 0) <> s.expected OR now.client_id <> s.client_id)
       AND s.request <> ALL (lost);
    IF moved IS NOT NULL THEN
        WITH stale AS (
            SELECT s.request, json_object_agg(s.aggregate_id, coalesce(now.aggregate_version, 0)) AS versions
              FROM unnest(streams) s
              LEFT JOIN LATERAL (
                  SELECT e.aggregate_version, e.client_id FROM annals.events e
                   WHERE e.aggregate_id = s.aggregate_id ORDER BY e.aggregate_version DESC LIMIT 1) now ON true
             WHERE s.request = ANY (moved)
               AND (coalesce(now.aggregate_version, 0) <> s.expected OR now.client_id <> s.client_id)
             GROUP BY s.request
        ), own AS (
            SELECT n.request, min(e.position) AS position
              FROM unnest(events) n
              JOIN annals.events e ON e.aggregate_id = n.aggregate_id
                   AND e.aggregate_version = n.aggregate_version AND e.event_id = n.event_id
             WHERE n.request = ANY (moved)
             GROUP BY n.request
        )
        SELECT array_agg(stale.request),
               array_agg(CASE
                   WHEN own.position IS NOT NULL THEN json_build_object(
                       'request', stale.request, 'verdict', 'already', 'first_position', own.position)
                   ELSE json_build_object('request', stale.request, 'verdict', 'conflict', 'versions', stale.versions)
               END),
               confirmed OR bool_or(own.position IS NOT NULL)
          INTO moved, found_now, confirmed
          FROM stale LEFT JOIN own ON own.request = stale.request;
        lost := lost || moved;
        outcome := outcome || found_now;
    END IF;

    IF cardinality(claims) > 0 THEN
        SELECT array_agg(t.request),
               array_agg(json_build_object('request', t.request, 'verdict', 'claim_taken', 'ordinal', t.ordinal))
          INTO moved, found_now
          FROM (SELECT c.request, min(c.ordinal) AS ordinal
                  FROM unnest(claims) c
                  LEFT JOIN annals.unique_claims u
                       ON u.client_id = c.client_id AND u.kind = c.kind AND u.value = c.value
                 WHERE c.request <> ALL (lost)
                   AND (c.clash OR (u.owner_id <> c.owner_id AND NOT EXISTS (
                        SELECT FROM unnest(releases) r
                         WHERE r.request = c.request AND r.kind = c.kind AND r.value = c.value
                           AND r.owner_id = u.owner_id)))
                 GROUP BY c.request) t;
        IF moved IS NOT NULL THEN
            lost := lost || moved;
            outcome := outcome || found_now;
        END IF;
    END IF;

    -- From here on nothing refuses: what was lost is left out, the rest is written.
    IF cardinality(lost) > 0 THEN
        verdicts := array_to_json(outcome);
        SELECT array_agg(t.number ORDER BY t.i) INTO numbers
          FROM (SELECT i, (count(*) FILTER (WHERE (events[i]).request <> ALL (lost)) OVER (ORDER BY i))::integer AS number
                  FROM generate_subscripts(events, 1) i) t;
        SELECT coalesce(array_agg(events[i] ORDER BY i), '{}') INTO events
          FROM generate_subscripts(events, 1) i WHERE (events[i]).request <> ALL (lost);
        SELECT coalesce(array_agg(ROW(k.request, coalesce(e.first, 0), k.client_id, k.scope, k.key, k.fingerprint,
                                      k.result)::annals.append_key_v1), '{}')
          INTO keys
          FROM unnest(keys) k
          LEFT JOIN (SELECT (events[i]).request, min(i) AS first FROM generate_subscripts(events, 1) i GROUP BY 1) e
               ON e.request = k.request
         WHERE k.request <> ALL (lost);
    END IF;

    IF cardinality(releases) > 0 THEN
        DELETE FROM annals.unique_claims u
         USING unnest(releases) r
         WHERE r.request <> ALL (lost) AND u.client_id = r.client_id AND u.kind = r.kind AND u.value = r.value
           AND u.owner_id = r.owner_id;
    END IF;
    IF cardinality(claims) > 0 THEN
        INSERT INTO annals.unique_claims (client_id, kind, value, owner_id)
        SELECT c.client_id, c.kind, c.value, c.owner_id FROM unnest(claims) c WHERE c.request <> ALL (lost)
        ON CONFLICT (client_id, kind, value) DO NOTHING; -- held by the same stream
    END IF;
    IF cardinality(keys) > 0 THEN
        INSERT INTO annals.idempotency_keys
               (client_id, scope, key, fingerprint, first_position, result, created_at)
        SELECT k.client_id, k.scope, k.key, k.fingerprint,
               CASE WHEN k.first_event > 0 THEN head + k.first_event END, k.result, clock_timestamp()
          FROM unnest(keys) k;
    END IF;
    IF cardinality(events) > 0 THEN
        -- recorded_at is the server's clock under the lock, one reading per batch: it never decreases along the log
        -- unless that clock is set back.
        taken_at := clock_timestamp();
        INSERT INTO annals.events
               (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at, schema_version,
                event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id, data,
                metadata, data_salt, metadata_salt)
        SELECT head + coalesce(numbers[e.ordinal], e.ordinal), e.event_id, e.aggregate_id, e.aggregate_version,
               e.occurred_at, taken_at, e.schema_version, e.event_type, e.aggregate_type, e.client_id, e.actor_id,
               e.correlation_id, e.causation_id, e.request_id, e.data, e.metadata, e.data_salt, e.metadata_salt
          FROM unnest(events) e
         WHERE coalesce(numbers[e.ordinal], e.ordinal) BETWEEN 1 AND cardinality(events);
        GET DIAGNOSTICS added = ROW_COUNT;
        -- As many as there are, each between the first and the last and none twice (the primary key): dense, whoever sends.
        IF added <> cardinality(events) THEN
            RAISE EXCEPTION 'the events of a batch are numbered from 1 on' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        head := head + added;
        PERFORM pg_notify('annals_events', CASE WHEN octet_length(types) <= 4000
            THEN concat_ws(' ', head, head - added + 1, types) ELSE head::text END);
    END IF;
    IF confirmed THEN
        -- An answer from the log must not leave before what it rests on is safe: a commit whose wait for a synchronous
        -- standby was cut short is visible all the same. This record makes our own commit wait.
        PERFORM pg_logical_emit_message(true, 'annals', 'confirm');
    END IF;
END
$$;
-- +goose StatementEnd

-- append_v2 for one request of one event on one stream, without claims and key: the lone caller's way.
-- +goose StatementBegin
CREATE FUNCTION annals.append_one_v2(
    known_head bigint,
    event      annals.append_event_v2,
    OUT head     bigint,
    OUT verdicts json
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    version bigint;
    owner   text;
    own     bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4703919738795935564);
    head := coalesce((SELECT e.position FROM annals.events e
                       WHERE e.position >= known_head ORDER BY e.position DESC LIMIT 1), 0);
    IF head < known_head THEN
        head := coalesce((SELECT e.position FROM annals.events e ORDER BY e.position DESC LIMIT 1), 0);
        RAISE EXCEPTION 'the log ends at position %, below position % that was acknowledged', head, known_head
            USING ERRCODE = 'AN001';
    END IF;
    SELECT e.aggregate_version, e.client_id INTO version, owner FROM annals.events e
     WHERE e.aggregate_id = event.aggregate_id AND e.aggregate_version >= event.aggregate_version - 1
     ORDER BY e.aggregate_version DESC LIMIT 1;
    IF version IS NULL AND event.aggregate_version > 1 THEN
        SELECT e.aggregate_version, e.client_id INTO version, owner FROM annals.events e
         WHERE e.aggregate_id = event.aggregate_id ORDER BY e.aggregate_version DESC LIMIT 1;
    END IF;
    IF coalesce(version, 0) <> event.aggregate_version - 1 OR owner <> event.client_id THEN
        SELECT e.position INTO own FROM annals.events e
         WHERE e.aggregate_id = event.aggregate_id AND e.aggregate_version = event.aggregate_version
           AND e.event_id = event.event_id;
        IF own IS NULL THEN
            verdicts := json_build_array(json_build_object('request', 0, 'verdict', 'conflict',
                'versions', json_build_object(event.aggregate_id, coalesce(version, 0))));
        ELSE
            verdicts := json_build_array(json_build_object('request', 0, 'verdict', 'already', 'first_position', own));
            PERFORM pg_logical_emit_message(true, 'annals', 'confirm');
        END IF;
        RETURN;
    END IF;
    head := head + 1;
    INSERT INTO annals.events
           (position, event_id, aggregate_id, aggregate_version, occurred_at, recorded_at, schema_version,
            event_type, aggregate_type, client_id, actor_id, correlation_id, causation_id, request_id, data,
            metadata, data_salt, metadata_salt)
    VALUES (head, event.event_id, event.aggregate_id, event.aggregate_version, event.occurred_at, clock_timestamp(),
            event.schema_version, event.event_type, event.aggregate_type, event.client_id, event.actor_id,
            event.correlation_id, event.causation_id, event.request_id, event.data, event.metadata, event.data_salt,
            event.metadata_salt);
    PERFORM pg_notify('annals_events', concat_ws(' ', head, head, event.event_type));
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION annals.append_v2, annals.append_one_v2 FROM PUBLIC;
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT EXECUTE ON FUNCTION annals.append_v2, annals.append_one_v2 TO annals_app;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION annals.append_one_v2, annals.append_v2;
DROP TYPE annals.append_event_v2;
