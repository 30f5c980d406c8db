declare
    before text;
begin
    select status into strict before from applications where id = event.stream_id;
    update applications
       set status = substr(event.type, 3),
           decision = substr(event.type, 3),
           decided_at = (event.metadata->>'occurred_at')::timestamptz
     where id = event.stream_id;
    update status_counts set now = now - 1 where status = before;
    insert into status_counts (status, now, ever) values (substr(event.type, 3), 1, 1)
    on conflict (status) do update set now = status_counts.now + 1, ever = status_counts.ever + 1;
end;
