-- +goose Up
-- The head of the log by ORDER BY … LIMIT 1 rather than max(position): on a log that was analysed while it was empty, the
-- latter is planned as a walk over all positions, and the sequencer's plans are made once.
-- +goose StatementBegin
DO $$
DECLARE
    name       text;
    definition text;
    changed    text;
BEGIN
    FOREACH name IN ARRAY ARRAY['append_v1', 'append_one_v1'] LOOP
        SELECT pg_get_functiondef(p.oid) INTO STRICT definition
          FROM pg_proc p WHERE p.pronamespace = 'annals'::regnamespace AND p.proname = name;
        changed := replace(definition, 'SELECT coalesce(max(e.position), 0) INTO head FROM annals.events e;',
            'head := coalesce((SELECT e.position FROM annals.events e ORDER BY e.position DESC LIMIT 1), 0);');
        IF changed = definition THEN
            RAISE EXCEPTION 'annals.% doesn''t read the head as expected', name;
        END IF;
        EXECUTE changed;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- Both forms give the same.
SELECT 1;
