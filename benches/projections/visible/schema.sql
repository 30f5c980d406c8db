create table visible (stream_id uuid primary key, version bigint not null);
