create table states (stream_id uuid primary key, version bigint not null, value text not null) with (fillfactor = 50);
