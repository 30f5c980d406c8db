-- Appends one commit after version `at`, or says what stands there. The write path where the log is
-- the store; one round trip, one transaction.
create function projectord.append_to_stream(
    in  p_stream_id    uuid,
    in  p_stream_type  text,
    in  p_at           bigint,
    in  p_commit_id    uuid,
    in  p_types        text[],
    in  p_data         jsonb[],
    in  p_metadata     jsonb[],
    out outcome        text,    -- appended, repeated, occupied or other_type
    out actual         bigint,  -- the stream's version before
    out actual_type    text
) language plpgsql as $$
declare
    head projectord.log_head;
    added constant bigint := cardinality(p_types);
begin
    select * into strict head from projectord.log_head for update;
    if head.store_id is not null then
        raise exception 'this log copies the RethinkDB store %, so nothing may be appended to it directly', head.store_id
            using errcode = 'PJ004', hint = 'Append to the store: set [store] url.';
    end if;

    select version, stream_type into actual, actual_type
      from projectord.events where stream_id = p_stream_id order by version desc limit 1;
    actual := coalesce(actual, 0);

    if actual > p_at then
        -- An earlier try of this very commit, whose reply was lost, stands at its place from the first
        -- event on.
        if exists (select from projectord.events
                    where stream_id = p_stream_id and version = p_at + 1 and commit_id = p_commit_id)
           and not exists (select from projectord.events
                    where stream_id = p_stream_id and version = p_at and commit_id = p_commit_id) then
            outcome := 'repeated';
        else
            outcome := 'occupied';
        end if;
        return;
    elsif actual < p_at then
        outcome := 'occupied';
        return;
    elsif actual_type <> p_stream_type then
        outcome := 'other_type';
        return;
    end if;

    insert into projectord.events
    select head.position + nth, p_stream_id, p_stream_type, p_at + nth, e.type, e.data, e.metadata,
           p_commit_id, clock_timestamp()
      from unnest(p_types, p_data, p_metadata) with ordinality as e (type, data, metadata, nth);

    update projectord.log_head set position = head.position + added;
    perform pg_notify('projectord_log', (head.position + added)::text);
    outcome := 'appended';
end $$;
