-- The log: every event, in the one order that every projection sees. A public interface: query it.
create table projectord.events (
    position     bigint primary key check (position > 0),
    stream_id    uuid not null,
    stream_type  text not null,
    version      bigint not null check (version > 0),
    type         text not null,
    data         jsonb not null,
    metadata     jsonb not null,
    commit_id    uuid not null,
    recorded_at  timestamptz not null,
    -- Computed once, so that running handlers need not; the same fields as in `projectord.digest`.
    digest       bigint not null generated always as (hash_record_extended(
                     row(position, stream_id, stream_type, version, type, data, metadata, recorded_at), 0)
                     & 4611686018427387903) stored,
    constraint events_stream_version unique (stream_id, version)
);

comment on table  projectord.events             is 'The log: append-only, in the order that projections see.';
comment on column projectord.events.position    is 'Place in the log: dense from 1, given once, never changed.';
comment on column projectord.events.version     is 'Place in its stream: dense from 1.';
comment on column projectord.events.commit_id   is 'The append that it came with; its events are adjacent.';
comment on column projectord.events.recorded_at is 'When the store took it, by the store''s clock. Says nothing about order.';
comment on column projectord.events.digest      is 'Of what handlers see of it. `audit` adds them up.';
