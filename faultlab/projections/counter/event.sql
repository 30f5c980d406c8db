insert into counters as c (stream_id, n, total)
values (event.stream_id, 1, (event.data->>'amount')::bigint)
on conflict (stream_id) do update set n = c.n + 1, total = c.total + excluded.total;
