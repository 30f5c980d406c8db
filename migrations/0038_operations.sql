-- What operators did, from the command line and by HTTP. Written in the transaction that does it, so that there
-- is no operation without its row and no row without its operation.
create table projectord.operations (
    operation   bigint generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    -- As whoever wrote it calls themselves: user@host, or http with the name of a token.
    who         text not null,
    -- pause, resume, rebuild, cancel, swap, undo, retry, skip; more may be added.
    what        text not null,
    -- It may be gone since: this is a record, and holds nothing in place.
    projection  text,
    detail      jsonb not null default '{}'
);

comment on table projectord.operations is 'What operators did, by whom and when; append-only.';

-- Nothing updates or deletes what is on record.
create function projectord.refuse_rewriting() returns trigger
language plpgsql as $$
begin
    raise exception 'projectord.operations is append-only: % refused', tg_op using errcode = 'PJ003';
end $$;

create trigger operations_append_only
    before update or delete or truncate on projectord.operations
    for each statement execute function projectord.refuse_rewriting();
