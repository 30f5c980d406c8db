-- Whatever is applied twice, or not at all, makes a wrong number.
create table counters (
    stream_id  uuid primary key,
    n          bigint not null,
    total      bigint not null
);
