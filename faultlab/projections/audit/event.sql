insert into arrivals (position, stream_id, version, type, amount)
values (event.position, event.stream_id, event.version, event.type, (event.data->>'amount')::bigint);
