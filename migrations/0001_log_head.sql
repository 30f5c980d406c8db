-- The head of the log: one row. Whoever gives out positions locks it until commit, so positions are
-- dense, in commit order, and never reused.
create table projectord.log_head (
    only_row  boolean primary key default true check (only_row),
    position  bigint not null default 0 check (position >= 0),
    -- The RethinkDB store that this log copies; null where the log itself is the store.
    store_id  uuid
);

insert into projectord.log_head default values;

comment on table projectord.log_head is 'Last position of the log, and the store that it copies.';
