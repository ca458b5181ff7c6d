-- +goose Up
-- The keys of personal text, in a schema of their own, so that they can also be in a database of their own: nothing here
-- refers to the log, and nothing in the log is readable by this alone. Keys are wrapped by a secret that no database has.

CREATE SCHEMA IF NOT EXISTS annals_keys;

-- The key that digests of subjects are made with, wrapped by the secret: a wrong secret doesn't open it.
CREATE TABLE annals_keys.master (
    singleton  boolean     NOT NULL DEFAULT true CHECK (singleton),
    salt       bytea       NOT NULL,
    iterations integer     NOT NULL, -- of PBKDF2; 1 for a secret that is random itself
    wrapped    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT master_pkey PRIMARY KEY (singleton)
);

-- Whom events are about. The row is what holds and erasures of one subject lock.
CREATE TABLE annals_keys.subjects (
    client_id  text        NOT NULL,
    kind       text        NOT NULL,
    digest     bytea       NOT NULL, -- HMAC-SHA-256 of client, kind and reference
    held_since timestamptz,          -- a legal hold is in force
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subjects_pkey PRIMARY KEY (client_id, kind, digest)
);

-- A subject has at most one key in use. A destroyed key leaves its row: what it sealed is known to be erased, not lost.
CREATE TABLE annals_keys.keys (
    key_id           uuid        NOT NULL,
    client_id        text        NOT NULL,
    kind             text        NOT NULL,
    digest           bytea       NOT NULL,
    wrapped          bytea,
    reference        bytea,                -- the subject's reference, sealed with the key itself
    created_at       timestamptz NOT NULL DEFAULT now(),
    erased_at        timestamptz,
    receipt_position bigint,               -- of the event that says so
    CONSTRAINT keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT keys_subject_fkey FOREIGN KEY (client_id, kind, digest) REFERENCES annals_keys.subjects,
    CONSTRAINT keys_erased_check CHECK (
        (wrapped IS NULL) = (erased_at IS NOT NULL) AND (reference IS NULL) = (erased_at IS NOT NULL))
);
CREATE UNIQUE INDEX keys_in_use_idx ON annals_keys.keys (client_id, kind, digest) WHERE erased_at IS NULL;
CREATE INDEX keys_subject_idx ON annals_keys.keys (client_id, kind, digest);

-- Readers (annals_query) never see a key. A key is destroyed by an update; no row is ever deleted.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT USAGE ON SCHEMA annals_keys TO annals_app;
        GRANT SELECT, INSERT ON annals_keys.master TO annals_app;
        GRANT SELECT, INSERT, UPDATE ON annals_keys.subjects TO annals_app;
        GRANT SELECT, INSERT, UPDATE ON annals_keys.keys TO annals_app;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP SCHEMA annals_keys CASCADE;
