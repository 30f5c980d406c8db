insert into seen (position, stream_id, version) values (event.position, event.stream_id, event.version);
