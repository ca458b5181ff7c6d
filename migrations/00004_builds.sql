-- +goose Up
-- Rebuilds of read models that are under way or were interrupted. A row outlives its process, so that the next run
-- resumes; who works on it right now holds the session advisory lock (1095650898, lock_key).

CREATE TABLE annals.builds (
    name        text        NOT NULL,
    version     integer     NOT NULL,
    lock_key    integer     NOT NULL,
    purpose     text        NOT NULL, -- rebuild: will switch; compare: never does
    fingerprint text        NOT NULL, -- of the program, the DDL and the events: another one starts over
    position    bigint      NOT NULL, -- the build schema's rows are those of the log up to here
    target      bigint      NOT NULL, -- where it is going, for those who watch
    indexed     boolean     NOT NULL, -- the bulk is over and the deferred indexes exist
    deferred    text[]      NOT NULL, -- statements that make the deferred indexes
    skipped     bigint[]    NOT NULL, -- positions an operator skipped that the build has left out
    started_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT builds_pkey PRIMARY KEY (name, version),
    CONSTRAINT builds_purpose_check CHECK (purpose IN ('rebuild', 'compare'))
);

-- Rebuilds whose process lives: a lock ends with its session, so that nothing is left behind by a crash.
CREATE VIEW annals.running_builds AS
SELECT b.name, b.version, b.position, b.target, b.started_at
FROM annals.builds b
WHERE b.purpose = 'rebuild'
  AND EXISTS (
    SELECT FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.classid::bigint = 1095650898 AND l.objid::bigint = b.lock_key AND l.objsubid = 2);

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON annals.builds TO annals_app;
        GRANT SELECT ON annals.running_builds TO annals_app;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP VIEW annals.running_builds;
DROP TABLE annals.builds;
