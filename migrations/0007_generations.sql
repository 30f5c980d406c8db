-- One build of a read model. `checkpoint = p` means: exactly the events 1..p are reflected in it, or set
-- aside in `parked`, or left out on record in `skipped`.
create table projectord.generations (
    projection   text not null references projectord.projections (name) on delete cascade,
    generation   bigint not null check (generation > 0),
    -- What it was built from: schema.sql, handlers and mapping.
    fingerprint  text not null,
    -- The event types that have a handler, as patterns of LIKE.
    handles      text[] not null,
    checkpoint   bigint not null default 0 check (checkpoint >= 0),
    -- How many events the handlers have run on, and the sum of their digests modulo 2^62: in any order the
    -- same. Counted by the loop that runs the handlers, and compared with the log by `projectord audit`.
    events       bigint not null default 0 check (events >= 0),
    digest       bigint not null default 0 check (digest >= 0),
    -- Over what stands above: a checkpoint that was changed by hand does not match.
    seal         bigint not null,
    -- The fence: only this owner, in this epoch, moves the checkpoint.
    owner        uuid,
    epoch        bigint not null default 0,
    -- The log's head when it was created: what a rebuild has to catch up with.
    built_to     bigint not null,
    created_at   timestamptz not null default clock_timestamp(),
    primary key (projection, generation)
) with (fillfactor = 50);

comment on table projectord.generations is 'Builds of read models and their checkpoints.';
