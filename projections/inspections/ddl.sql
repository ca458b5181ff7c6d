CREATE TABLE quality_inspections (
    id                     uuid        NOT NULL,
    client_id              text        NOT NULL,
    work_order_id          uuid        NOT NULL,
    stage                  text        NOT NULL, -- incoming, in_process, final
    inspected_on           date        NOT NULL,
    units_inspected        bigint      NOT NULL,
    units_passed           bigint      NOT NULL,
    units_defective        bigint      NOT NULL,
    units_reworked         bigint      NOT NULL,
    units_scrapped         bigint      NOT NULL,
    defect_count           bigint      NOT NULL,
    opportunities_per_unit bigint      NOT NULL,
    inspector              text,
    version                bigint      NOT NULL,
    created_position       bigint      NOT NULL,
    created_at             timestamptz NOT NULL,
    CONSTRAINT quality_inspections_pkey PRIMARY KEY (id)
);
CREATE INDEX quality_inspections_list_idx ON quality_inspections (client_id, created_position);
CREATE INDEX quality_inspections_work_order_idx ON quality_inspections (client_id, work_order_id, created_position);
