-- Who works on what: a row for ingest and one for each projection. A lease keeps others idle; it keeps
-- nobody out. That is done by owner and epoch in the checkpoint's row (projectord.claim).
create table projectord.leases (
    name        text primary key,   -- `ingest`, or the projection
    owner       uuid,
    -- How often it has changed hands.
    epoch       bigint not null default 0,
    expires_at  timestamptz not null default '-infinity',
    free_since  timestamptz not null default clock_timestamp(),
    -- A stale owner whose work was refused by the fence: how often, who, when.
    refusals    bigint not null default 0,
    refused     uuid,
    refused_at  timestamptz
);

comment on table projectord.leases is 'Who works on ingest and on each projection.';
