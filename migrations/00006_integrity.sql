-- +goose Up
-- The Merkle tree over the events, and what signs it. Nothing here is needed to read or write the log.

-- The tree's size, root and open edge: the hashes that aren't in a full tile yet, in a column of their own for the leaves,
-- which change with each page. The sealer alone writes it. origin names the log in checkpoints.
CREATE TABLE annals.integrity_log (
    singleton   boolean NOT NULL DEFAULT true CHECK (singleton),
    log_id      uuid    NOT NULL DEFAULT gen_random_uuid(),
    origin      text    NOT NULL,
    size        bigint  NOT NULL DEFAULT 0,
    root        bytea   NOT NULL DEFAULT sha256(''::bytea),
    open_leaves bytea   NOT NULL DEFAULT ''::bytea,
    open_nodes  bytea   NOT NULL DEFAULT ''::bytea,
    CONSTRAINT integrity_log_pkey PRIMARY KEY (singleton),
    CONSTRAINT integrity_log_size_check CHECK (size >= 0),
    CONSTRAINT integrity_log_root_check CHECK (octet_length(root) = 32)
) WITH (fillfactor = 10); -- one row, rewritten with each page
ALTER TABLE annals.integrity_log ALTER COLUMN open_leaves SET STORAGE EXTERNAL; -- hashes can't be compressed
ALTER TABLE annals.integrity_log ALTER COLUMN open_nodes SET STORAGE EXTERNAL;
INSERT INTO annals.integrity_log (log_id, origin)
SELECT id, 'annals/' || id FROM gen_random_uuid() AS id;

-- Full tiles: 256 hashes of a level.
CREATE TABLE annals.integrity_tiles (
    index  bigint   NOT NULL,
    level  smallint NOT NULL,
    hashes bytea    NOT NULL,
    CONSTRAINT integrity_tiles_pkey PRIMARY KEY (level, index),
    CONSTRAINT integrity_tiles_hashes_check CHECK (octet_length(hashes) = 8192)
);
ALTER TABLE annals.integrity_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
CREATE TRIGGER integrity_tiles_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON annals.integrity_tiles
    FOR EACH STATEMENT EXECUTE FUNCTION annals.refuse_change();

-- Signed checkpoints: the newest, those of rotations (kept), and of the others one a minute.
CREATE TABLE annals.integrity_checkpoints (
    size      bigint      NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kept      boolean     NOT NULL DEFAULT false,
    root      bytea       NOT NULL,
    note      text        NOT NULL,
    CONSTRAINT integrity_checkpoints_pkey PRIMARY KEY (size)
);

-- Keys that sign checkpoints. A new one is pending until its event is in the log. private_key is encrypted under a
-- passphrase that isn't in the database; null: it came from outside, or the key is retired.
CREATE TABLE annals.integrity_keys (
    verifier_key text        NOT NULL,
    status       text        NOT NULL,
    private_key  bytea,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    position     bigint,      -- of the event that made it the log's key
    retired_at   timestamptz,
    retired_position bigint,  -- of the event that replaced it
    CONSTRAINT integrity_keys_pkey PRIMARY KEY (verifier_key),
    CONSTRAINT integrity_keys_status_check CHECK (status IN ('pending', 'active', 'retired'))
);
CREATE UNIQUE INDEX integrity_keys_active_idx ON annals.integrity_keys (status) WHERE status <> 'retired';

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT SELECT, UPDATE ON annals.integrity_log TO annals_app;
        GRANT SELECT, INSERT ON annals.integrity_tiles TO annals_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON annals.integrity_checkpoints TO annals_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON annals.integrity_keys TO annals_app;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE annals.integrity_keys;
DROP TABLE annals.integrity_checkpoints;
DROP TABLE annals.integrity_tiles;
DROP TABLE annals.integrity_log;
