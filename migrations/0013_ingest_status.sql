-- What ingest says of itself; one row.
create table projectord.ingest_status (
    only_row         boolean primary key default true check (only_row),
    state            text not null default 'stopped' check (state in
                         ('stopped', 'catching_up', 'live', 'backoff', 'halted')),
    error            text,
    feed             text not null default 'closed' check (feed in ('open', 'closed')),
    -- Commits that the feed did not announce and the sweep or the full pass found.
    repaired         bigint not null default 0,
    full_pass_at     timestamptz,
    updated_at       timestamptz not null default clock_timestamp()
);

insert into projectord.ingest_status default values;

comment on table projectord.ingest_status is 'State of ingest, where a RethinkDB store is configured.';
