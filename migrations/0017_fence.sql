-- Locks a generation for whoever owns it, at the checkpoint that they know. Anybody else is refused.
create function projectord.fence(
    p_projection text, p_generation bigint, p_checkpoint bigint, p_owner uuid, p_epoch bigint
) returns projectord.generations language plpgsql as $$
declare
    build projectord.generations;
begin
    select * into build from projectord.generations g
     where g.projection = p_projection and g.generation = p_generation and g.checkpoint = p_checkpoint
       and g.owner = p_owner and g.epoch = p_epoch for update;
    if not found then
        raise exception 'checkpoint of projection % generation % is not % any more, or not with % in epoch %',
            p_projection, p_generation, p_checkpoint, p_owner, p_epoch using errcode = 'PJ001';
    end if;
    return build;
end $$;
