-- Events that were set aside, where a projection's `on_error` is "park": the one whose handler failed, and
-- all later events of its stream, in order.
create table projectord.parked (
    projection    text not null,
    generation    bigint not null,
    position      bigint not null,
    stream_id     uuid not null,
    version       bigint not null,
    type          text not null,
    -- Why its handler failed; null for those that wait behind one that did.
    error         jsonb,
    parked_at     timestamptz not null default clock_timestamp(),
    -- Somebody asked to apply it after all.
    retry_wanted  boolean not null default false,
    primary key (projection, generation, position),
    foreign key (projection, generation) references projectord.generations on delete cascade
);

create index parked_streams on projectord.parked (projection, generation, stream_id, position);

comment on table projectord.parked is 'Events set aside because a handler failed.';
