-- One row per application. Its lead time is that from its first event to its latest, by the clock of whoever
-- recorded them: metadata->>'occurred_at', and not event.recorded_at, which says when the store took it.

create table cases (
    id           uuid primary key,          -- the application's stream
    name         text not null,             -- what the municipality calls it: case-891
    department   text not null,
    channel      text not null,
    step         text not null,             -- the latest
    steps        bigint not null,
    received_at  timestamptz not null,
    latest_at    timestamptz not null,
    lead_time    interval not null
) with (fillfactor = 85);

-- The median is read off this, from the middle.
create index on cases (department, lead_time);

create table departments (
    department        text primary key,
    cases             bigint not null,
    median_lead_time  interval not null     -- of an even number, half-way between the two in the middle
) with (fillfactor = 50);

-- Both handlers end with this. It counts nothing up: it is right whatever came before.
create function set_median(of_department text) returns void language plpgsql as $$
declare
    n bigint;
begin
    select count(*) into n from cases c where c.department = of_department;

    insert into departments (department, cases, median_lead_time)
    select of_department, n, sum(middle.lead_time) / count(*)
      from (select c.lead_time from cases c where c.department = of_department
             order by c.lead_time
            offset (n - 1) / 2 limit 2 - n % 2) middle
    on conflict (department) do update
       set cases = excluded.cases, median_lead_time = excluded.median_lead_time;
end $$;
