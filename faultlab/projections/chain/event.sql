insert into chains as c (stream_id, hash)
values (event.stream_id, md5(concat_ws(' ', '', event.version, event.type, event.data->>'amount')))
on conflict (stream_id) do update
   set hash = md5(concat_ws(' ', c.hash, event.version, event.type, event.data->>'amount'));
