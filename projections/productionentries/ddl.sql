CREATE TABLE production_entries (
    id                     uuid        NOT NULL,
    client_id              text        NOT NULL,
    work_order_id          uuid        NOT NULL,
    line                   text        NOT NULL,
    shift                  text        NOT NULL,
    production_date        date        NOT NULL,
    units_produced         bigint      NOT NULL,
    defect_count           bigint      NOT NULL,
    scrap_count            bigint      NOT NULL,
    rework_count           bigint      NOT NULL,
    run_time_hours         numeric     NOT NULL,
    scheduled_hours        numeric     NOT NULL,
    downtime_hours         numeric     NOT NULL,
    employees_assigned     bigint      NOT NULL,
    ideal_cycle_time_hours numeric     NOT NULL,
    estimated              boolean     NOT NULL,
    corrections            bigint      NOT NULL,
    version                bigint      NOT NULL,
    created_position       bigint      NOT NULL,
    last_position          bigint      NOT NULL,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL,
    CONSTRAINT production_entries_pkey PRIMARY KEY (id)
);
CREATE INDEX production_entries_list_idx ON production_entries (client_id, created_position);
CREATE INDEX production_entries_work_order_idx ON production_entries (client_id, work_order_id, created_position);
CREATE INDEX production_entries_line_idx ON production_entries (client_id, line, created_position);
