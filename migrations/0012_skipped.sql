-- Events that an operator decided to leave out. The decision is about the event, not about a build: a
-- rebuild leaves it out too, so that rebuilt rows are the same rows.
create table projectord.skipped (
    projection  text not null references projectord.projections (name) on delete cascade,
    position    bigint not null,
    -- Why the handler had failed.
    error       jsonb,
    skipped_by  text not null default session_user,
    skipped_at  timestamptz not null default clock_timestamp(),
    primary key (projection, position)
);

comment on table projectord.skipped is 'Events left out of a projection, by whom and when.';
