-- Runs once for each OrderCreated, in the order of the log. One record is in scope, `event`:
--
--   event.position, event.stream_id, event.stream_type, event.version, event.type,
--   event.data (jsonb), event.metadata (jsonb), event.recorded_at
--
-- Its fields are variables, never text of the SQL, so nothing in them can do harm. Rows and checkpoint
-- are committed together: no event is applied twice, so plain inserts and `n = n + 1` are right.

insert into orders (id, user_id, total, status, version, created_at, updated_at)
values (
    event.stream_id,
    (event.data->>'user_id')::int,
    (event.data->>'total')::numeric,
    'created',
    event.version,
    event.recorded_at,
    event.recorded_at
);
