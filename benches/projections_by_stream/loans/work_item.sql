-- A work item is scheduled, started and completed; it counts when it is started.
if event.data->>'transition' = 'START' then
    update applications
       set work_items = jsonb_set(work_items, array[substr(event.type, 3)],
                                  to_jsonb(coalesce((work_items->>substr(event.type, 3))::int, 0) + 1))
     where id = event.stream_id;
end if;
