insert into states (stream_id, key, amount, version)
values (event.stream_id, event.data->>'key', (event.data->>'amount')::bigint, event.version)
on conflict (stream_id, key) do update set amount = excluded.amount, version = excluded.version;
