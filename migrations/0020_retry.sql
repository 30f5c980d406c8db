-- Applies one parked event after all: the first of its stream that is parked.
create function projectord.retry(
    p_projection text, p_generation bigint, p_position bigint, p_checkpoint bigint, p_owner uuid, p_epoch bigint
) returns void language plpgsql as $$
declare
    build projectord.generations := projectord.fence(p_projection, p_generation, p_checkpoint, p_owner, p_epoch);
begin
    delete from projectord.parked p
     where p.projection = p_projection and p.generation = p_generation and p.position = p_position
       and not exists (select from projectord.parked before
                        where before.projection = p_projection and before.generation = p_generation
                          and before.stream_id = p.stream_id and before.position < p_position);
    if found then
        perform projectord.run_handlers(build, p_position - 1, p_position, null, null);
    end if;
end $$;
