-- As the loan projection of the tests, but for its counts: no row here is touched by events of two streams, so
-- that several workers can build it. Counts are a view.
create table applications (
    id               uuid primary key,
    case_number      text not null,
    amount_requested integer not null,
    status           text not null,
    submitted_at     timestamptz not null,
    decision         text,                          -- APPROVED, DECLINED or CANCELLED
    decided_at       timestamptz,
    offers           integer not null default 0,
    statuses         text[] not null,               -- those that it has had
    work_items       jsonb not null default '{}'    -- activity → how many work items were started
) with (fillfactor = 70);

create view status_counts as
    select s.status, count(*) filter (where a.status = s.status) as now, count(*) as ever
      from applications a, unnest(a.statuses) as s (status) group by s.status;
