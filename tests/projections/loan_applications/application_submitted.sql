insert into applications (id, case_number, amount_requested, status, submitted_at)
values (event.stream_id, event.data->>'case', (event.data->>'amount_req')::int, 'SUBMITTED',
        (event.metadata->>'occurred_at')::timestamptz);

insert into status_counts (status, now, ever) values ('SUBMITTED', 1, 1)
on conflict (status) do update set now = status_counts.now + 1, ever = status_counts.ever + 1;
