-- Events of one stream arrive in order, so the row is there. Take times from the event, not now():
-- a replay must give the same rows.

update orders
   set status = event.data->>'status',
       version = event.version,
       updated_at = event.recorded_at
 where id = event.stream_id;
