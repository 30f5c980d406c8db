-- A batch whose handlers are not in the database: begins it, and says which range of the log it is. The caller
-- runs its handlers on `batch_events` in the same transaction, and ends it by `end_batch`.
create function projectord.begin_batch(
    in  p_projection   text,
    in  p_generation   bigint,
    in  p_after        bigint,   -- the checkpoint as the caller knows it
    in  p_limit        bigint,
    in  p_owner        uuid,
    in  p_epoch        bigint,
    out new_checkpoint bigint,
    out head           bigint,
    out schema_name    text,
    out transaction    text      -- which this is: end_batch must find itself in the same
) language plpgsql as $$
declare
    build projectord.generations;
    handles text[];
begin
    build := projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch);
    select position into strict head from projectord.log_head;
    if p_after > head then
        raise exception 'checkpoint % of projection % is ahead of the log, whose head is %', p_after, p_projection, head
            using errcode = 'PJ002', hint = 'The log was restored from an older state. Rebuild the projection.';
    end if;
    new_checkpoint := least(p_after + p_limit, head);
    schema_name := build.schema_name;
    transaction := pg_current_xact_id();
    select o.handles into strict handles from projectord.sources o
     where o.projection = p_projection and o.generation = p_generation;
    insert into projectord.parked (projection, generation, position, stream_id, version, type)
    select p_projection, p_generation, e.position, e.stream_id, e.version, e.type
      from projectord.events e
     where e.position > p_after and e.position <= new_checkpoint and e.type like any(handles)
       and e.stream_id in (select p.stream_id from projectord.parked p
                            where p.projection = p_projection and p.generation = p_generation)
       and not exists (select from projectord.skipped s where s.projection = p_projection and s.position = e.position);
end $$;
