-- What most read models are: the last value of each key. It has no handler for LabNoted.
create table states (
    stream_id  uuid,
    key        text,
    amount     bigint not null,
    version    bigint not null,
    primary key (stream_id, key)
);
