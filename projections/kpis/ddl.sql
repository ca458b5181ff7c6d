-- The finest part of a client's production that figures are grouped from. Sums are exact; quotients are taken when asked.
CREATE TABLE kpis (
    client_id            text    NOT NULL,
    day                  date    NOT NULL, -- production date, day of inspection, or UTC day of shipping
    line                 text    NOT NULL, -- empty for inspections and deliveries
    shift                text    NOT NULL, -- empty for inspections and deliveries
    work_order_id        uuid    NOT NULL,
    entries              bigint  NOT NULL,
    estimated            bigint  NOT NULL, -- entries whose cycle time was estimated
    units_produced       bigint  NOT NULL,
    defects              bigint  NOT NULL,
    scrap                bigint  NOT NULL,
    earned_hours         numeric NOT NULL, -- Σ units × ideal cycle time
    staff_hours          numeric NOT NULL, -- Σ employees × scheduled hours
    run_hours            numeric NOT NULL,
    scheduled_hours      numeric NOT NULL,
    downtime_hours       numeric NOT NULL,
    inspections          bigint  NOT NULL,
    incoming_inspected   bigint  NOT NULL,
    incoming_passed      bigint  NOT NULL,
    incoming_defective   bigint  NOT NULL,
    in_process_inspected bigint  NOT NULL,
    in_process_passed    bigint  NOT NULL,
    in_process_defective bigint  NOT NULL,
    final_inspected      bigint  NOT NULL,
    final_passed         bigint  NOT NULL,
    final_defective      bigint  NOT NULL,
    defects_found        bigint  NOT NULL,
    opportunities        numeric NOT NULL, -- Σ units inspected × opportunities per unit
    shipped              bigint  NOT NULL,
    shipped_on_time      bigint  NOT NULL,
    last_position        bigint  NOT NULL,
    CONSTRAINT kpis_pkey PRIMARY KEY (client_id, day, line, shift, work_order_id)
) WITH (fillfactor = 80);
CREATE INDEX kpis_line_idx ON kpis (client_id, line, day);
