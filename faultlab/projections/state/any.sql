insert into states (stream_id, version, value) values (event.stream_id, event.version, event.data->>'value')
on conflict (stream_id) do update set version = excluded.version, value = excluded.value;
