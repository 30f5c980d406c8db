update applications set offers = offers + 1 where id = event.stream_id;
