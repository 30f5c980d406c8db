-- The same as projections_by_stream/loans, as somebody would write it who needs it once: one loop over the log,
-- committed in pieces.
drop schema if exists by_hand cascade;
create schema by_hand;

create table by_hand.applications (
    id               uuid primary key,
    case_number      text not null,
    amount_requested integer not null,
    status           text not null,
    submitted_at     timestamptz not null,
    decision         text,
    decided_at       timestamptz,
    offers           integer not null default 0,
    statuses         text[] not null,
    work_items       jsonb not null default '{}'
) with (fillfactor = 70);

create procedure by_hand.replay(upto bigint, piece bigint) language plpgsql as $$
declare
    after bigint := 0;
    event record;
begin
    while after < upto loop
        for event in
            select stream_id, type, data, metadata from projectord.events
             where position > after and position <= least(after + piece, upto) order by position
        loop
            case
                when event.type = 'A_SUBMITTED' then
                    insert into by_hand.applications (id, case_number, amount_requested, status, submitted_at, statuses)
                    values (event.stream_id, event.data->>'case', (event.data->>'amount_req')::int, 'SUBMITTED',
                            (event.metadata->>'occurred_at')::timestamptz, '{SUBMITTED}');
                when event.type in ('A_APPROVED', 'A_DECLINED', 'A_CANCELLED') then
                    update by_hand.applications
                       set status = substr(event.type, 3), statuses = statuses || substr(event.type, 3),
                           decision = substr(event.type, 3), decided_at = (event.metadata->>'occurred_at')::timestamptz
                     where id = event.stream_id;
                when event.type like 'A\_%' then
                    update by_hand.applications
                       set status = substr(event.type, 3), statuses = statuses || substr(event.type, 3)
                     where id = event.stream_id;
                when event.type = 'O_CREATED' then
                    update by_hand.applications set offers = offers + 1 where id = event.stream_id;
                when event.type like 'W\_%' then
                    if event.data->>'transition' = 'START' then
                        update by_hand.applications
                           set work_items = jsonb_set(work_items, array[substr(event.type, 3)],
                                   to_jsonb(coalesce((work_items->>substr(event.type, 3))::int, 0) + 1))
                         where id = event.stream_id;
                    end if;
                else
                    null;
            end case;
        end loop;
        commit;
        after := after + piece;
    end loop;
end $$;
