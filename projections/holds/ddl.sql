CREATE TABLE holds (
    id                uuid        NOT NULL,
    client_id         text        NOT NULL,
    work_order_id     uuid        NOT NULL,
    category          text        NOT NULL,
    reason            text        NOT NULL,
    quantity          bigint      NOT NULL,
    status            text        NOT NULL, -- open, resumed
    quantity_released bigint,               -- null while open, as the following
    quantity_scrapped bigint,
    resolution        text,
    held_for          numeric,              -- hours
    resumed_at        timestamptz,
    version           bigint      NOT NULL,
    created_position  bigint      NOT NULL,
    last_position     bigint      NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT holds_pkey PRIMARY KEY (id)
);
CREATE INDEX holds_list_idx ON holds (client_id, created_position);
CREATE INDEX holds_work_order_idx ON holds (client_id, work_order_id, created_position);
CREATE INDEX holds_open_idx ON holds (client_id, created_position) WHERE status = 'open';
