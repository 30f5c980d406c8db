-- A second read model from the same events: what each user ordered, and when something last happened.
-- It keeps a small table of its own to find the user of an order; a projection never reads another's
-- tables, which may be ahead of it or behind.

create table customers (
    user_id        integer primary key,
    orders         bigint not null default 0,
    total          numeric(14, 2) not null default 0,
    last_activity  timestamptz not null
) with (fillfactor = 85);

create table order_users (
    order_id  uuid primary key,
    user_id   integer not null
);
