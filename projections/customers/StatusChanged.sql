update customers
   set last_activity = event.recorded_at
  from order_users
 where order_users.order_id = event.stream_id
   and customers.user_id = order_users.user_id;
