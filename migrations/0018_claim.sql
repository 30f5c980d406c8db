-- Takes over a generation's checkpoint: from now on only this owner, in this epoch, moves it. Waits for a
-- batch of the former owner that is under way, and then knows whether it was committed.
create function projectord.claim(
    in  p_projection  text,
    in  p_generation  bigint,
    in  p_owner       uuid,
    in  p_epoch       bigint,
    out checkpoint    bigint
) language plpgsql as $$
declare
    found_row projectord.generations;
    head bigint;
begin
    select g.* into found_row from projectord.generations g
     where g.projection = p_projection and g.generation = p_generation for update;
    if not found then
        raise exception 'the checkpoint of projection % is gone', p_projection
            using errcode = 'PJ008', hint = 'Somebody deleted it. Rebuild the projection.';
    elsif found_row.epoch > p_epoch or found_row.epoch = p_epoch and found_row.owner <> p_owner then
        raise exception 'projection % belongs to % in epoch %, and not to % in epoch %',
            p_projection, found_row.owner, found_row.epoch, p_owner, p_epoch using errcode = 'PJ001';
    elsif found_row.seal <> projectord.seal(found_row.generation, found_row.checkpoint, found_row.events, found_row.digest) then
        raise exception 'the checkpoint % of projection % was changed by hand', found_row.checkpoint, p_projection
            using errcode = 'PJ009', hint = 'The rows are not known to match it. Rebuild the projection.';
    end if;
    select position into strict head from projectord.log_head;
    if found_row.checkpoint > head then
        raise exception 'checkpoint % of projection % is ahead of the log, whose head is %',
            found_row.checkpoint, p_projection, head
            using errcode = 'PJ002', hint = 'The log was restored from an older state. Rebuild the projection.';
    end if;
    if found_row.epoch < p_epoch then
        update projectord.generations g set owner = p_owner, epoch = p_epoch
         where g.projection = p_projection and g.generation = p_generation;
    else
        -- Nothing is written that a crash could take: no flush to wait for.
        perform set_config('synchronous_commit', 'off', true);
    end if;
    checkpoint := found_row.checkpoint;
end $$;
