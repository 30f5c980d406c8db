-- What is wanted of each projection, and what the daemon says of it. The control plane: the command
-- line writes `wanted` and `rebuild_wanted` and notifies `projectord_control`; the daemon acts.
create table projectord.projections (
    name               text primary key check (name ~ '^[a-z][a-z0-9_]{0,47}$'),
    wanted             text not null default 'running' check (wanted in ('running', 'paused')),
    rebuild_wanted     boolean not null default false,
    state              text not null default 'catching_up' check (state in
                           ('catching_up', 'live', 'backoff', 'paused', 'halted', 'rebuilding')),
    -- The generation that readers see; 0 before the first is built.
    generation         bigint not null default 0,
    -- Why it is halted, in backoff or not rebuilt: {position, sqlstate, message, hint, …}.
    error              jsonb,
    events_per_second  double precision not null default 0,
    updated_at         timestamptz not null default clock_timestamp()
);

comment on table projectord.projections is 'Wanted and actual state of each projection.';
