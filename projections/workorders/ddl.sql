CREATE TABLE work_orders (
    id                     uuid        NOT NULL,
    client_id              text        NOT NULL,
    number                 text        NOT NULL,
    product_code           text        NOT NULL,
    customer_name          text,
    quantity_ordered       bigint      NOT NULL,
    received_on            date        NOT NULL,
    due_on                 date        NOT NULL,
    ideal_cycle_time_hours numeric,
    workflow               text        NOT NULL, -- standard, express, with_qc, minimal
    close_on_ship          boolean     NOT NULL,
    status                 text        NOT NULL,
    units_produced         bigint      NOT NULL,
    defects                bigint      NOT NULL,
    scrap                  bigint      NOT NULL,
    qc_approved            boolean     NOT NULL,
    open_holds             json        NOT NULL, -- ids, in the order of their creation
    before_hold            text        NOT NULL, -- where the last resume leads; empty while not on hold
    on_hold_since          timestamptz,          -- null while not on hold
    time_on_hold           bigint      NOT NULL, -- of the stays on hold that have ended, in nanoseconds
    shipped_at             timestamptz,
    version                bigint      NOT NULL,
    created_position       bigint      NOT NULL,
    last_position          bigint      NOT NULL,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL,
    CONSTRAINT work_orders_pkey PRIMARY KEY (id)
) WITH (fillfactor = 80); -- output is added often: room for that on the same database page
CREATE INDEX work_orders_list_idx ON work_orders (client_id, created_position);
CREATE INDEX work_orders_number_idx ON work_orders (client_id, number);
-- For the orders that are still to be shipped, among which the overdue ones are.
CREATE INDEX work_orders_open_idx ON work_orders (client_id, created_position)
    WHERE status NOT IN ('shipped', 'closed', 'cancelled', 'rejected');
