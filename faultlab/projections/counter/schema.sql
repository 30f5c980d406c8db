-- n = n + 1: twice is not once.
create table counts (stream_id uuid primary key, n bigint not null) with (fillfactor = 50);
