-- Who is running. A daemon that was not seen for a while is down.
create table projectord.daemons (
    id          uuid primary key,
    host        text not null,
    pid         integer not null,
    version     text not null,
    started_at  timestamptz not null default clock_timestamp(),
    seen_at     timestamptz not null default clock_timestamp()
);

comment on table projectord.daemons is 'Running daemons, by heartbeat.';
