-- One build of a read model. `checkpoint = p` means: exactly the events 1..p are reflected in it, or set
-- aside in `parked`, or left out on record in `skipped`.
create table projectord.generations (
    projection   text not null references projectord.projections (name) on delete cascade,
    generation   bigint not null check (generation > 0),
    -- Live: what readers see. Building: on its way there. Retired: what they saw before, fed on so that one
    -- can go back.
    state        text not null check (state in ('building', 'live', 'retired')),
    -- Where its tables are: the projection's own name while it is live, name@generation otherwise.
    schema_name  text not null,
    -- What it was built from: schema.sql, handlers and mapping.
    fingerprint  text not null,
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
    -- Stays beside the live one when it has caught up, until somebody has looked.
    held         boolean not null default false,
    -- Whether objects outside that depend on the live tables may be left behind.
    forced       boolean not null default false,
    -- Building: when it first had everything that was in the log.
    caught_up_at timestamptz,
    -- Retired: until when one can go back to it.
    keep_until   timestamptz,
    -- Not live: why it is not fed any more, or not swapped in.
    error        jsonb,
    events_per_second  double precision not null default 0,
    created_at   timestamptz not null default clock_timestamp(),
    primary key (projection, generation)
-- Room for the versions of a checkpoint, in pages that few of them share.
) with (fillfactor = 10);

create unique index one_live_generation on projectord.generations (projection) where state = 'live';
create unique index one_building_generation on projectord.generations (projection) where state = 'building';

comment on table projectord.generations is 'Builds of read models and their checkpoints.';
