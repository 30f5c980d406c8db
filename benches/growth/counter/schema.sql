create table types (type text primary key, n bigint not null) with (fillfactor = 50);
