CREATE TABLE products (
    id               uuid          NOT NULL,
    client_id        text          NOT NULL,
    sku              text          NOT NULL,
    name             text          NOT NULL,
    price            numeric(11,2) NOT NULL,
    currency         text          NOT NULL,
    available        bigint        NOT NULL,
    reserved         bigint        NOT NULL,
    status           text          NOT NULL, -- active, discontinued
    version          bigint        NOT NULL,
    created_position bigint        NOT NULL,
    last_position    bigint        NOT NULL,
    created_at       timestamptz   NOT NULL,
    updated_at       timestamptz   NOT NULL,
    CONSTRAINT products_pkey PRIMARY KEY (id)
) WITH (fillfactor = 80); -- stock changes often: room for that on the same database page
CREATE INDEX products_list_idx ON products (client_id, created_position);
CREATE INDEX products_sku_idx ON products (client_id, sku);
