insert into applications (id, case_number, amount_requested, status, submitted_at, statuses)
values (event.stream_id, event.data->>'case', (event.data->>'amount_req')::int, 'SUBMITTED',
        (event.metadata->>'occurred_at')::timestamptz, '{SUBMITTED}');
