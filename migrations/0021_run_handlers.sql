-- Runs a generation's handlers over a range of the log, and writes down its checkpoint with what the
-- handlers ran on. The caller has locked the row.
create function projectord.run_handlers(
    p_build    projectord.generations,   -- with the checkpoint that it shall have
    p_after    bigint,
    p_to       bigint,
    p_parked   uuid[],                   -- streams to leave out, or null
    p_skipped  bigint[],                 -- positions to leave out, or null
    p_share    integer default null,
    p_shares   integer default null
) returns bigint language plpgsql as $$
declare
    -- Where the loop came to, how many events it ran on, and their digests.
    done bigint[];
    all_events bigint;
    all_digests bigint;
    -- Assigned to, as `perform` would be a query of its own.
    setting text;
begin
    setting := set_config('search_path', quote_ident(p_build.schema_name) || ', pg_temp', true);
    execute format('select %I.projectord_apply($1, $2, $3, $4, $5, $6)', p_build.schema_name)
       into done using p_after, p_to, p_parked, p_skipped, p_share, p_shares;
    if done[1] is distinct from p_to then
        raise exception 'a handler of projection % left the batch early', p_build.projection using errcode = 'PJ007';
    end if;
    -- What a handler has set for the session is not the next batch's, nor another projection's.
    reset all;
    all_events := p_build.events + done[2];
    all_digests := (p_build.digest + done[3]) & 4611686018427387903;
    if p_share is null then
        update projectord.generations g
           set checkpoint = p_build.checkpoint, events = all_events, digest = all_digests,
               seal = projectord.seal(p_build.generation, p_build.checkpoint, all_events, all_digests)
         where g.projection = p_build.projection and g.generation = p_build.generation;
    else
        update projectord.shares s set checkpoint = p_build.checkpoint, events = all_events, digest = all_digests
         where s.projection = p_build.projection and s.generation = p_build.generation and s.share = p_share;
    end if;
    -- No flush to wait for: a crash takes rows and checkpoint together, and the log, which was flushed before, has the
    -- events to apply again.
    setting := set_config('synchronous_commit', 'off', true);
    return p_build.checkpoint;
end $$;
