create table applications (
    id               uuid primary key,
    case_number      text not null,
    amount_requested integer not null,
    status           text not null,
    submitted_at     timestamptz not null,
    decision         text,                          -- APPROVED, DECLINED or CANCELLED
    decided_at       timestamptz,
    offers           integer not null default 0,
    work_items       jsonb not null default '{}'    -- activity → how many work items were started
) with (fillfactor = 70);

create table status_counts (
    status  text primary key,
    now     integer not null,   -- applications that have this status
    ever    integer not null    -- applications that have had it
) with (fillfactor = 50);
