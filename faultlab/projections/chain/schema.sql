-- Each event is hashed with all that came before it in its stream: another order makes another hash.
create table chains (
    stream_id  uuid primary key,
    hash       text not null
);
