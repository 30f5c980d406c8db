-- Read your own writes: returns when the projection's live read model reflects this version of this stream,
-- with the event's position in the log; raises when it does not within the time. Call it outside a transaction,
-- or at read committed: at a stricter level nothing new can be seen.
create function projectord.wait_for(
    p_projection  text,
    p_stream_id   uuid,
    p_version     bigint,
    p_timeout     interval default '5 seconds'
) returns bigint language plpgsql as $$
declare
    deadline constant timestamptz := clock_timestamp() + p_timeout;
    wait double precision := 0.002;
    place bigint;
    build projectord.generations;
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'projectord.wait_for sees nothing new in a transaction at %', current_setting('transaction_isolation')
            using errcode = 'PJ010', hint = 'Call it before the transaction begins, or at read committed.';
    elsif not exists (select from projectord.projections p where p.name = p_projection) then
        raise exception 'there is no projection %', p_projection using errcode = 'PJ010';
    end if;
    loop
        select e.position into place from projectord.events e
         where e.stream_id = p_stream_id and e.version = p_version;
        select g.* into build from projectord.generations g
          join projectord.projections p on p.name = g.projection and p.generation = g.generation
         where g.projection = p_projection;
        if place is not null and build.checkpoint >= place then
            if exists (select from projectord.parked k
                        where k.projection = p_projection and k.generation = build.generation
                          and k.stream_id = p_stream_id and k.position <= place) then
                raise exception 'version % of stream % is parked in projection %', p_version, p_stream_id, p_projection
                    using errcode = 'PJ013', hint = 'projectord parked shows why.';
            end if;
            return place;
        end if;
        exit when clock_timestamp() >= deadline;
        perform pg_sleep(least(wait, extract(epoch from deadline - clock_timestamp())));
        -- It is late by a fifth of the wait at most, and asks seldom where the wait is long.
        wait := least(wait * 1.2, 0.05);
    end loop;
    raise exception 'projection % has not applied version % of stream % within %: %', p_projection, p_version, p_stream_id, p_timeout,
        case when place is null then 'the log does not have it yet'
             else format('it is at %s, and the event at %s', coalesce(build.checkpoint, 0), place) end
        using errcode = 'PJ010';
end $$;
