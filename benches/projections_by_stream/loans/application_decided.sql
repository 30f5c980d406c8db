update applications
   set status = substr(event.type, 3),
       statuses = statuses || substr(event.type, 3),
       decision = substr(event.type, 3),
       decided_at = (event.metadata->>'occurred_at')::timestamptz
 where id = event.stream_id;
