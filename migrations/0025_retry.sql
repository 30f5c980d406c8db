-- Applies one parked event after all: the first of its stream that is parked.
create function projectord.retry(
    p_projection text, p_generation bigint, p_position bigint, p_checkpoint bigint, p_owner uuid, p_epoch bigint
) returns void language plpgsql as $$
declare
    build projectord.generations := projectord.fence(p_projection, p_generation, p_checkpoint, p_owner, p_epoch);
begin
    if projectord.unpark(p_projection, p_generation, p_position) then
        perform projectord.run_handlers(build, p_position - 1, p_position, null, null);
    end if;
end $$;
