create table entries (
    position     bigint primary key,
    stream_id    uuid not null,
    type         text not null,
    occurred_at  timestamptz not null
);
