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

-- Readers' rights belong here too, since a rebuild makes the tables anew:
-- grant usage on schema orders to reporting;
-- grant select on orders to reporting;
