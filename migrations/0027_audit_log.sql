-- Whether the log is whole: what is wrong with it, in words, and how many events were looked at.
create function projectord.audit_log(out events bigint, out problems text[]) language plpgsql stable as $$
declare
    head bigint;
    last bigint;
    streams text;
begin
    problems := '{}';
    select position into strict head from projectord.log_head;
    select count(*), max(position) into events, last from projectord.events where position <= head;
    if events <> head or coalesce(last, 0) <> head then
        problems := problems || format('the head is %s, and there are %s events up to %s', head, events, last);
    end if;
    if exists (select from projectord.events where position > head) then
        problems := problems || format('there are events after the head, %s', head);
    end if;
    select string_agg(stream_id::text, ', ') into streams from (
        select stream_id from (
            select stream_id, version, position,
                   lag(version, 1, 0::bigint) over in_stream as version_before,
                   lag(position, 1, 0::bigint) over in_stream as position_before
              -- Sorted, not read by the index, whose order goes all over a log that is larger than memory.
              from (select e.stream_id, e.version, e.position from projectord.events e where e.position <= head offset 0) e
            window in_stream as (partition by stream_id order by version)) e
         where version <> version_before + 1 or position <= position_before
         group by stream_id order by stream_id limit 5) broken;
    if streams is not null then
        problems := problems || format('these streams have a hole or are out of order: %s', streams);
    end if;
end $$;
