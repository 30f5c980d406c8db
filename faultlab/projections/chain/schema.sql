-- Each link hashes the one before it: another order is another chain.
create table chains (stream_id uuid primary key, chain text not null) with (fillfactor = 50);
