-- +goose Up
-- Who may ask. A key's secret isn't here: only its hash. Keys are made, rotated and revoked by the owner of the database
-- alone; the program reads them and notes their use.

CREATE TABLE annals.api_keys (
    key_id       text        NOT NULL, -- the public part of the key
    secret_hash  bytea       NOT NULL, -- SHA-256
    old_hash     bytea,                -- of the secret before the last rotation, which is taken until old_until
    old_until    timestamptz,
    client_id    text        NOT NULL, -- '*': every client
    role         text        NOT NULL,
    actor_id     text        NOT NULL,
    label        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text        NOT NULL,
    expires_at   timestamptz,
    rotated_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,          -- to the minute, and written after the fact
    revision     bigint      NOT NULL,
    CONSTRAINT api_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_keys_role_check CHECK (role IN ('viewer', 'operator', 'auditor', 'admin')),
    CONSTRAINT api_keys_hash_check CHECK (octet_length(secret_hash) = 32)
);
CREATE INDEX api_keys_revision_idx ON annals.api_keys (revision);

-- Raised with every change of a key, under its row's lock: changes become visible in the order of revisions, so that
-- whoever asks for those after the last one it saw misses none. Above zero there once was a key, and it stays so.
CREATE TABLE annals.api_key_revision (
    singleton boolean NOT NULL DEFAULT true CHECK (singleton),
    revision  bigint  NOT NULL,
    CONSTRAINT api_key_revision_pkey PRIMARY KEY (singleton)
);
INSERT INTO annals.api_key_revision (revision) VALUES (0);

ALTER TABLE annals.api_keys ENABLE ROW LEVEL SECURITY;

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT SELECT ON annals.api_keys TO annals_app;
        GRANT UPDATE (last_used_at) ON annals.api_keys TO annals_app;
        GRANT SELECT ON annals.api_key_revision TO annals_app;
        CREATE POLICY api_keys_app ON annals.api_keys TO annals_app USING (true);
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE annals.api_key_revision;
DROP TABLE annals.api_keys;
