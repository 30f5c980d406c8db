-- One build of a read model. `checkpoint = p` means: exactly the events 1..p are reflected in it.
create table projectord.generations (
    projection   text not null references projectord.projections (name) on delete cascade,
    generation   bigint not null check (generation > 0),
    -- What it was built from: schema.sql, handlers and mapping.
    fingerprint  text not null,
    checkpoint   bigint not null default 0 check (checkpoint >= 0),
    -- The log's head when it was created: what a rebuild has to catch up with.
    built_to     bigint not null,
    created_at   timestamptz not null default clock_timestamp(),
    primary key (projection, generation)
) with (fillfactor = 50);

comment on table projectord.generations is 'Builds of read models and their checkpoints.';
