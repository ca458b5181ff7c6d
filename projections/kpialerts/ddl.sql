CREATE TABLE kpi_alerts (
    id             uuid        NOT NULL, -- of the event that stated the violation
    client_id      text        NOT NULL,
    threshold_id   uuid        NOT NULL,
    kpi            text        NOT NULL,
    line           text,                 -- null: the whole production
    value          numeric     NOT NULL,
    threshold      numeric     NOT NULL, -- the limit
    direction      text        NOT NULL, -- min, max
    period         text        NOT NULL, -- the one judged, such as 2026-01-06 or 2026-W02
    violated_at    timestamptz NOT NULL,
    recovered_at   timestamptz,          -- null: the alert is open
    position       bigint      NOT NULL, -- of the event that stated the violation
    ended_position bigint,               -- of the event that ended the alert
    CONSTRAINT kpi_alerts_pkey PRIMARY KEY (id)
);
CREATE INDEX kpi_alerts_list_idx ON kpi_alerts (client_id, position);
CREATE INDEX kpi_alerts_open_idx ON kpi_alerts (threshold_id) WHERE recovered_at IS NULL;
