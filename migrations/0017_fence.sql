-- Locks a generation, or one share of it, for whoever owns it, at the checkpoint that they know. Anybody else
-- is refused. Of a share, what is answered has the share's checkpoint and counts.
create function projectord.fence(
    p_projection text, p_generation bigint, p_checkpoint bigint, p_owner uuid, p_epoch bigint, p_share integer default null
) returns projectord.generations language plpgsql as $$
declare
    build projectord.generations;
    part projectord.shares;
begin
    if p_share is null then
        select * into build from projectord.generations g
         where g.projection = p_projection and g.generation = p_generation and g.checkpoint = p_checkpoint
           and g.owner = p_owner and g.epoch = p_epoch for update;
    else
        -- Shares run side by side; whoever claims the generation waits for all of them.
        select * into build from projectord.generations g
         where g.projection = p_projection and g.generation = p_generation
           and g.owner = p_owner and g.epoch = p_epoch for key share;
        if found then
            select * into part from projectord.shares s
             where s.projection = p_projection and s.generation = p_generation and s.share = p_share
               and s.checkpoint = p_checkpoint for update;
        end if;
        build.checkpoint := part.checkpoint;
        build.events := part.events;
        build.digest := part.digest;
    end if;
    if not found then
        raise exception 'checkpoint of projection % generation % is not % any more, or not with % in epoch %',
            p_projection, p_generation, p_checkpoint, p_owner, p_epoch using errcode = 'PJ001';
    end if;
    return build;
end $$;
