-- One batch of one projection: moves the checkpoint by compare-and-set, then runs the generation's
-- handlers over the events in between. One statement, one transaction, one round trip; the events
-- never leave the database.
create function projectord.apply(
    in  p_projection  text,
    in  p_generation  bigint,
    in  p_after       bigint,   -- the checkpoint as the caller knows it
    in  p_limit       bigint,   -- the most events to apply
    out new_checkpoint bigint,
    out head          bigint    -- the log's head, read before the events
) language plpgsql as $$
declare
    done bigint;
begin
    select position into strict head from projectord.log_head;
    if p_after > head then
        raise exception 'checkpoint % of projection % is ahead of the log, whose head is %', p_after, p_projection, head
            using errcode = 'PJ002',
                  hint = 'The log was restored from an older state, or the checkpoint was changed by hand. Rebuild the projection.';
    end if;
    new_checkpoint := least(p_after + p_limit, head);
    if new_checkpoint = p_after then
        return;
    end if;

    update projectord.generations set checkpoint = new_checkpoint
     where projection = p_projection and generation = p_generation and checkpoint = p_after;
    if not found then
        raise exception 'checkpoint of projection % generation % is not % any more', p_projection, p_generation, p_after
            using errcode = 'PJ001';
    end if;

    perform set_config('search_path', quote_ident(p_projection) || ', pg_temp', true);
    execute format('select %I.projectord_apply($1, $2)', p_projection) into done using p_after, new_checkpoint;
    if done is distinct from new_checkpoint then
        raise exception 'a handler of projection % left the batch early', p_projection using errcode = 'PJ007';
    end if;
end $$;
