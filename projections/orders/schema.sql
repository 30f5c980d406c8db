-- The read model: whatever tables and indexes suit those who read. Names are unqualified; the daemon
-- puts them into a schema named like this folder, so readers say `select … from orders.orders`.
--
-- The rows are disposable: change this file or a handler, and they are dropped and replayed.

create table orders (
    id          uuid primary key,       -- the order's stream
    user_id     integer not null,
    total       numeric(12, 2),
    status      text not null,
    version     bigint not null,        -- how far this row has come in its stream
    created_at  timestamptz not null,
    updated_at  timestamptz not null
) with (fillfactor = 85);               -- room for updates in place

create index on orders (user_id);
create index on orders (status);

-- Readers' rights: granted once, from outside, they carry over to each rebuild. Or here; the schema's name is
-- then whatever it is at the time, since a rebuild is made under another:
-- do $$ begin execute format('grant usage on schema %I to reporting', current_schema()); end $$;
-- grant select on orders to reporting;
