insert into entries
select position, stream_id, type, (metadata->>'occurred_at')::timestamptz from batch order by position;
