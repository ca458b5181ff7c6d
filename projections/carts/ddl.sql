CREATE TABLE carts (
    id               uuid        NOT NULL,
    client_id        text        NOT NULL,
    customer_id      text,
    status           text        NOT NULL, -- open, submitted, expired
    currency         text,                 -- null while there are no lines
    lines            json        NOT NULL,
    total            numeric     NOT NULL,
    item_count       bigint      NOT NULL,
    order_id         uuid,                 -- of a submitted cart
    version          bigint      NOT NULL,
    created_position bigint      NOT NULL,
    last_position    bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT carts_pkey PRIMARY KEY (id)
) WITH (fillfactor = 70);
-- For the carts that have been idle for too long.
CREATE INDEX carts_idle_idx ON carts (status, updated_at);
