-- +goose Up
-- A scan of an index takes all that its condition admits of a page, however little is asked for. An append knows where the
-- log and each stream must stand at least, so that its probes need admit one entry instead of up to four hundred. Where
-- a bounded probe finds nothing, the one without a bound says where the log or the stream stands.
-- +goose StatementBegin
DO $$
DECLARE
    name       text;
    probe      text;
    bounded    text;
    definition text;
    changed    text;
BEGIN
    FOR name, probe, bounded IN VALUES
        ('append_v1', 'events e ORDER BY e.position DESC LIMIT 1), 0);
    IF head < known_head THEN',
            'events e WHERE e.position >= known_head ORDER BY e.position DESC LIMIT 1), 0);
    IF head < known_head THEN
        head := coalesce((SELECT e.position FROM annals.events e ORDER BY e.position DESC LIMIT 1), 0);'),
        ('append_one_v1', 'events e ORDER BY e.position DESC LIMIT 1), 0);
    IF head < known_head THEN',
            'events e WHERE e.position >= known_head ORDER BY e.position DESC LIMIT 1), 0);
    IF head < known_head THEN
        head := coalesce((SELECT e.position FROM annals.events e ORDER BY e.position DESC LIMIT 1), 0);'),
        ('append_v1', '      INTO moved
      FROM unnest(streams) s
      LEFT JOIN LATERAL (
          SELECT e.aggregate_version, e.client_id FROM annals.events e
           WHERE e.aggregate_id = s.aggregate_id ORDER',
            '      INTO moved
      FROM unnest(streams) s
      LEFT JOIN LATERAL (
          SELECT e.aggregate_version, e.client_id FROM annals.events e
           WHERE e.aggregate_id = s.aggregate_id AND e.aggregate_version >= s.expected ORDER'),
        ('append_one_v1', 'WHERE e.aggregate_id = event.aggregate_id ORDER BY e.aggregate_version DESC LIMIT 1;
    IF',
            'WHERE e.aggregate_id = event.aggregate_id AND e.aggregate_version >= event.aggregate_version - 1
     ORDER BY e.aggregate_version DESC LIMIT 1;
    IF version IS NULL AND event.aggregate_version > 1 THEN
        SELECT e.aggregate_version, e.client_id INTO version, owner FROM annals.events e
         WHERE e.aggregate_id = event.aggregate_id ORDER BY e.aggregate_version DESC LIMIT 1;
    END IF;
    IF')
    LOOP
        SELECT pg_get_functiondef(p.oid) INTO STRICT definition
          FROM pg_proc p WHERE p.pronamespace = 'annals'::regnamespace AND p.proname = name;
        changed := replace(definition, probe, bounded);
        IF changed = definition THEN
            RAISE EXCEPTION 'annals.% doesn''t probe as expected: %', name, probe;
        END IF;
        EXECUTE changed;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- Both forms give the same.
SELECT 1;
