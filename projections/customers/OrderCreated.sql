insert into order_users (order_id, user_id)
values (event.stream_id, (event.data->>'user_id')::int);

insert into customers (user_id, orders, total, last_activity)
values ((event.data->>'user_id')::int, 1, coalesce((event.data->>'total')::numeric, 0), event.recorded_at)
on conflict (user_id) do update
   set orders = customers.orders + 1,
       total = customers.total + excluded.total,
       last_activity = excluded.last_activity;
