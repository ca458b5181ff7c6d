CREATE TABLE orders (
    id                  uuid        NOT NULL,
    client_id           text        NOT NULL,
    cart_id             uuid        NOT NULL,
    customer_id         text,
    status              text        NOT NULL, -- created, cancelled, shipped
    lines               json        NOT NULL,
    shipping_address    json        NOT NULL,
    total               numeric     NOT NULL,
    currency            text        NOT NULL,
    cancellation_reason text,
    tracking_reference  text,
    version             bigint      NOT NULL,
    created_position    bigint      NOT NULL,
    last_position       bigint      NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (id)
);
CREATE INDEX orders_list_idx ON orders (client_id, created_position);
CREATE INDEX orders_customer_idx ON orders (client_id, customer_id, created_position);
