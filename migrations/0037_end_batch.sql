-- Ends a batch that `begin_batch` began: moves the checkpoint, and counts what the handlers ran on.
create function projectord.end_batch(
    p_projection text, p_generation bigint, p_after bigint, p_to bigint, p_owner uuid, p_epoch bigint,
    p_events bigint, p_digest bigint, p_transaction text
) returns void language plpgsql as $$
declare
    build projectord.generations;
begin
    if pg_current_xact_id()::text <> p_transaction then
        raise exception 'a handler of projection % has ended the transaction', p_projection using errcode = 'PJ007';
    end if;
    build := projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch);
    build.events := build.events + p_events;
    build.digest := (build.digest + p_digest) & 4611686018427387903;
    update projectord.generations g
       set checkpoint = p_to, events = build.events, digest = build.digest,
           seal = projectord.seal(p_generation, p_to, build.events, build.digest)
     where g.projection = p_projection and g.generation = p_generation;
    -- As in run_handlers.
    perform set_config('synchronous_commit', 'off', true);
end $$;
