-- Any later step. An application that was never received would be an error: `strict` says so.
declare
    in_department text;
    at timestamptz := event.metadata->>'occurred_at';
begin
    update cases
       set step = event.type,
           steps = steps + 1,
           latest_at = greatest(latest_at, at),
           lead_time = greatest(latest_at, at) - received_at
     where id = event.stream_id
    returning department into strict in_department;

    perform set_median(in_department);
end;
