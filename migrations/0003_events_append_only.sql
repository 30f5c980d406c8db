-- Nothing updates or deletes an event.
create function projectord.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception 'projectord.events is append-only: % refused', tg_op
        using errcode = 'PJ003',
              hint = 'Correct a mistake with a new event. To start over, drop the database and replay.';
end $$;

create trigger events_append_only
    before update or delete or truncate on projectord.events
    for each statement execute function projectord.refuse_change();
