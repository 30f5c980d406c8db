-- What is wanted of each projection, and what the daemon says of it. The control plane: the command
-- line writes what is wanted and notifies `projectord_control`; the daemon acts.
create table projectord.projections (
    name               text primary key check (name ~ '^[a-z][a-z0-9_]{0,47}$'),
    wanted             text not null default 'running' check (wanted in ('running', 'paused')),
    -- A rebuild that somebody asked for and that has not begun: beside the live rows; the same, and held
    -- there when it has caught up; or in the place of the live rows.
    rebuild_wanted     text check (rebuild_wanted in ('beside', 'held', 'in_place')),
    -- Whether objects outside that depend on the read model may be left behind by it.
    rebuild_forced     boolean not null default false,
    -- Why a rebuild that is wanted cannot begin; the live rows go on.
    rebuild_error      jsonb,
    state              text not null default 'catching_up' check (state in
                           ('catching_up', 'live', 'backoff', 'paused', 'halted', 'rebuilding')),
    -- The generation that readers see; 0 before the first is built.
    generation         bigint not null default 0,
    -- The fingerprint that an operator went back from: these files are built again only when asked for.
    declined           text,
    -- Why it is halted or in backoff: {position, sqlstate, message, hint, …}.
    error              jsonb,
    events_per_second  double precision not null default 0,
    updated_at         timestamptz not null default clock_timestamp()
);

comment on table projectord.projections is 'Wanted and actual state of each projection.';
