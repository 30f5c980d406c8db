create table activated (id uuid primary key, at timestamptz not null);
