CREATE TABLE kpi_thresholds (
    id               uuid        NOT NULL,
    client_id        text        NOT NULL,
    kpi              text        NOT NULL,
    line             text,                 -- null: the whole production
    direction        text        NOT NULL, -- min, max
    threshold        numeric     NOT NULL, -- the limit
    period           text        NOT NULL, -- day, week
    active           boolean     NOT NULL, -- false once it is removed
    violated         boolean     NOT NULL,
    version          bigint      NOT NULL,
    created_position bigint      NOT NULL,
    last_position    bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT kpi_thresholds_pkey PRIMARY KEY (id)
);
CREATE INDEX kpi_thresholds_list_idx ON kpi_thresholds (client_id, created_position) WHERE active;
