-- The first event of an application.
insert into cases (id, name, department, channel, step, steps, received_at, latest_at, lead_time)
select event.stream_id, event.data->>'case', event.data->>'department', event.data->>'channel',
       event.type, 1, at, at, interval '0'
  from (select (event.metadata->>'occurred_at')::timestamptz as at) occurred;

perform set_median(event.data->>'department');
