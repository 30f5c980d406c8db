-- Sets aside the event after the checkpoint, whose handler failed, and moves on.
create function projectord.park(
    p_projection text, p_generation bigint, p_after bigint, p_owner uuid, p_epoch bigint, p_share integer, p_error jsonb
) returns void language plpgsql as $$
declare
    build projectord.generations :=
        projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch, p_share);
begin
    insert into projectord.parked (projection, generation, position, stream_id, version, type, error)
    select p_projection, p_generation, e.position, e.stream_id, e.version, e.type, p_error
      from projectord.events e where e.position = p_after + 1;
    if p_share is null then
        update projectord.generations g
           set checkpoint = p_after + 1, seal = projectord.seal(p_generation, p_after + 1, g.events, g.digest)
         where g.projection = p_projection and g.generation = p_generation;
    else
        update projectord.shares s set checkpoint = p_after + 1
         where s.projection = p_projection and s.generation = p_generation and s.share = p_share;
    end if;
end $$;
