insert into entries
values (event.position, event.stream_id, event.type, (event.metadata->>'occurred_at')::timestamptz);
