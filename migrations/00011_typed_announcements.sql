-- +goose Up
-- The announcement of a batch names its first position and its event types after the head, so that a node's subscribers
-- wake only for what they want of other nodes' events too: "<head> <first> <type> <type> …". Where the types don't fit, the
-- head stands alone, as it did before. An older program doesn't read the longer form: until it is replaced, its subscribers
-- learn of other nodes' events by looking each second.
-- +goose StatementBegin
DO $$
DECLARE
    name       text;
    announce   text;
    definition text;
    changed    text;
BEGIN
    FOR name, announce IN VALUES
        ('append_v1', 'PERFORM pg_notify(''annals_events'', (SELECT CASE WHEN length(t.types) <= 4000
            THEN concat_ws('' '', head, head - added + 1, t.types) ELSE head::text END
            FROM (SELECT string_agg(DISTINCT e.event_type, '' '') AS types FROM unnest(events) e) t));'),
        ('append_one_v1', 'PERFORM pg_notify(''annals_events'', concat_ws('' '', head, head, event.event_type));')
    LOOP
        SELECT pg_get_functiondef(p.oid) INTO STRICT definition
          FROM pg_proc p WHERE p.pronamespace = 'annals'::regnamespace AND p.proname = name;
        changed := replace(definition, 'PERFORM pg_notify(''annals_events'', head::text);', announce);
        IF changed = definition THEN
            RAISE EXCEPTION 'annals.% doesn''t announce as expected', name;
        END IF;
        EXECUTE changed;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- Listeners read both forms.
SELECT 1;
