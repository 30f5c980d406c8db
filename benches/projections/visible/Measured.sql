insert into visible (stream_id, version) values (event.stream_id, event.version);
-- Announced when the batch commits: that is when readers see the row.
perform pg_notify('visible', event.stream_id::text);
