-- One batch of one projection: runs the generation's handlers over the events after the checkpoint and
-- moves it, by compare-and-set of place, owner and epoch. One statement, one transaction, one round trip;
-- the events never leave the database.
create function projectord.apply(
    in  p_projection  text,
    in  p_generation  bigint,
    in  p_after       bigint,   -- the checkpoint as the caller knows it
    in  p_limit       bigint,   -- the most events to apply
    in  p_owner       uuid,
    in  p_epoch       bigint,
    out new_checkpoint bigint,
    out head          bigint    -- the log's head, read before the events
) language plpgsql as $$
declare
    build projectord.generations;
    parked uuid[];
    skipped bigint[];
begin
    select position into strict head from projectord.log_head;
    if p_after > head then
        -- Unless it is the caller who is behind the times: the database may have been put back to a backup.
        perform projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch);
        raise exception 'checkpoint % of projection % is ahead of the log, whose head is %', p_after, p_projection, head
            using errcode = 'PJ002',
                  hint = 'The log was restored from an older state, or the checkpoint was changed by hand. Rebuild the projection.';
    end if;
    new_checkpoint := least(p_after + p_limit, head);
    if new_checkpoint = p_after then
        return;
    end if;

    build := projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch);

    -- Later events of a stream that has a parked one wait behind it.
    select array_agg(distinct p.stream_id) into parked from projectord.parked p
     where p.projection = p_projection and p.generation = p_generation;
    select array_agg(s.position) into skipped from projectord.skipped s
     where s.projection = p_projection and s.position > p_after and s.position <= new_checkpoint;
    if parked is not null then
        insert into projectord.parked (projection, generation, position, stream_id, version, type)
        select p_projection, p_generation, e.position, e.stream_id, e.version, e.type from projectord.events e
         where e.position > p_after and e.position <= new_checkpoint
           and e.stream_id = any(parked) and e.type like any(build.handles)
           and (skipped is null or e.position <> all(skipped));
    end if;

    build.checkpoint := new_checkpoint;
    perform projectord.run_handlers(build, p_after, new_checkpoint, parked, skipped);
end $$;
