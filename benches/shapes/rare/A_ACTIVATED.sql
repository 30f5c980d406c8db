insert into activated values (event.stream_id, (event.metadata->>'occurred_at')::timestamptz);
