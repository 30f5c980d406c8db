-- Sets aside the event after the checkpoint, whose handler failed, and moves on.
create function projectord.park(
    p_projection text, p_generation bigint, p_after bigint, p_owner uuid, p_epoch bigint, p_error jsonb
) returns void language plpgsql as $$
declare
    build projectord.generations := projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch);
begin
    insert into projectord.parked (projection, generation, position, stream_id, version, type, error)
    select p_projection, p_generation, e.position, e.stream_id, e.version, e.type, p_error
      from projectord.events e where e.position = p_after + 1;
    update projectord.generations g
       set checkpoint = p_after + 1, seal = projectord.seal(p_generation, p_after + 1, g.events, g.digest)
     where g.projection = p_projection and g.generation = p_generation;
end $$;
