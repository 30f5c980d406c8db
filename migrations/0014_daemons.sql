-- Who is running. A daemon that was not seen for a while is down.
create table projectord.daemons (
    id          uuid primary key,
    host        text not null,
    pid         integer not null,
    version     text not null,
    -- What it could own: `ingest`, and the projections whose folders it has.
    able        text[] not null default '{}',
    -- Whether it does its part, and if not, why; as it measures it against the log and the store.
    ready       boolean not null default true,
    reasons     text[] not null default '{}',
    -- How often configuration or a projection could not be reloaded, and the old one stayed.
    refused_reloads  bigint not null default 0,
    started_at  timestamptz not null default clock_timestamp(),
    seen_at     timestamptz not null default clock_timestamp()
);

comment on table projectord.daemons is 'Running daemons, by heartbeat.';
