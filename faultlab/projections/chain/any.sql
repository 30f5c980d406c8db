insert into chains as c (stream_id, chain) values (event.stream_id, md5(event.data->>'value'))
on conflict (stream_id) do update set chain = md5(c.chain || (event.data->>'value'));
