-- The loan projection as somebody would write it who needs it once: one loop over the log, the same
-- statements, no checkpoint. Called once it is one transaction, whose dead rows nothing can clear away
-- (`status_counts` is updated for each event); in pieces, it is the best that the loop can do.
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
    work_items       jsonb not null default '{}'
) with (fillfactor = 70);

create table by_hand.status_counts (
    status  text primary key,
    now     integer not null,
    ever    integer not null
) with (fillfactor = 50);

create function by_hand.replay(after bigint, upto bigint) returns void language plpgsql set search_path = by_hand as $$
declare
    event record;
    before text;
begin
    for event in
        select stream_id, type, data, metadata from projectord.events
         where position > after and position <= upto order by position
    loop
        case
            when event.type = 'A_SUBMITTED' then
                insert into applications (id, case_number, amount_requested, status, submitted_at)
                values (event.stream_id, event.data->>'case', (event.data->>'amount_req')::int, 'SUBMITTED',
                        (event.metadata->>'occurred_at')::timestamptz);
                insert into status_counts (status, now, ever) values ('SUBMITTED', 1, 1)
                on conflict (status) do update set now = status_counts.now + 1, ever = status_counts.ever + 1;
            when event.type in ('A_APPROVED', 'A_DECLINED', 'A_CANCELLED') then
                select status into strict before from applications where id = event.stream_id;
                update applications
                   set status = substr(event.type, 3),
                       decision = substr(event.type, 3),
                       decided_at = (event.metadata->>'occurred_at')::timestamptz
                 where id = event.stream_id;
                update status_counts set now = now - 1 where status = before;
                insert into status_counts (status, now, ever) values (substr(event.type, 3), 1, 1)
                on conflict (status) do update set now = status_counts.now + 1, ever = status_counts.ever + 1;
            when event.type like 'A\_%' then
                select status into strict before from applications where id = event.stream_id;
                update applications set status = substr(event.type, 3) where id = event.stream_id;
                update status_counts set now = now - 1 where status = before;
                insert into status_counts (status, now, ever) values (substr(event.type, 3), 1, 1)
                on conflict (status) do update set now = status_counts.now + 1, ever = status_counts.ever + 1;
            when event.type = 'O_CREATED' then
                update applications set offers = offers + 1 where id = event.stream_id;
            when event.type like 'W\_%' then
                if event.data->>'transition' = 'START' then
                    update applications
                       set work_items = jsonb_set(work_items, array[substr(event.type, 3)],
                               to_jsonb(coalesce((work_items->>substr(event.type, 3))::int, 0) + 1))
                     where id = event.stream_id;
                end if;
            else
                null;
        end case;
    end loop;
end $$;

create procedure by_hand.replay_in_pieces(upto bigint, piece bigint) language plpgsql as $$
declare
    after bigint := 0;
begin
    while after < upto loop
        perform by_hand.replay(after, least(after + piece, upto));
        commit;
        after := after + piece;
    end loop;
end $$;
