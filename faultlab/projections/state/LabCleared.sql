delete from states where stream_id = event.stream_id and key = event.data->>'key';
