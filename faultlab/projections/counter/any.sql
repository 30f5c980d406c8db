insert into counts as c (stream_id, n) values (event.stream_id, 1)
on conflict (stream_id) do update set n = c.n + 1;
