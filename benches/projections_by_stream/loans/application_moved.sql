update applications set status = substr(event.type, 3), statuses = statuses || substr(event.type, 3)
 where id = event.stream_id;
