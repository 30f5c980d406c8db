-- One batch of one generation: runs its handlers over the events after the checkpoint and moves it, by
-- compare-and-set of place, owner and epoch. One statement, one transaction, one round trip; the events
-- never leave the database.
create function projectord.apply(
    in  p_projection  text,
    in  p_generation  bigint,
    in  p_after       bigint,   -- the checkpoint as the caller knows it
    in  p_limit       bigint,   -- the most events to apply
    in  p_owner       uuid,
    in  p_epoch       bigint,
    in  p_share       integer default null,  -- of a build that is shared: only the streams of this share
    out new_checkpoint bigint,
    out head          bigint    -- the log's head, read before the events
) language plpgsql as $$
begin
    select position into strict head from projectord.log_head;
    if p_after > head then
        -- Unless it is the caller who is behind the times: the database may have been put back to a backup.
        perform projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch, p_share);
        raise exception 'checkpoint % of projection % is ahead of the log, whose head is %', p_after, p_projection, head
            using errcode = 'PJ002',
                  hint = 'The log was restored from an older state, or the checkpoint was changed by hand. Rebuild the projection.';
    end if;
    new_checkpoint := least(p_after + p_limit, head);
    if new_checkpoint > p_after then
        new_checkpoint := projectord.advance(
            projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch, p_share), new_checkpoint, p_share);
    end if;
end $$;
