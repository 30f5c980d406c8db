-- Puts one generation in the place of the live one, and the live one aside, in one transaction: readers see the
-- rows of the one until its commit, and those of the other from then on. Going back is the same, the other way
-- round. What the next generation lacks of the events that readers have seen is applied here.
create function projectord.swap(
    p_projection text, p_live bigint, p_next bigint, p_keep interval, out checkpoint bigint
) language plpgsql as $$
declare
    -- The most that is caught up with while readers' tables are about to change place.
    most constant bigint := 10000;
    live projectord.generations;
    next projectord.generations;
    head bigint;
    seen bigint;
    broken jsonb;
    outside text;
begin
    perform from projectord.projections p where p.name = p_projection and p.generation = p_live for update;
    if found then
        -- What looks long into the catalogue comes before anything is locked that the live rows' batches need. Only
        -- who has the projection's row gives a generation another name.
        select * into live from projectord.generations g
         where g.projection = p_projection and g.generation = p_live and g.state = 'live';
        select * into next from projectord.generations g
         where g.projection = p_projection and g.generation = p_next and g.state <> 'live';
        if not next.forced then
            select string_agg(dependant, ', ') into outside from projectord.dependants(live.schema_name) dependant;
        end if;
        perform projectord.carry_over(live.schema_name, next.schema_name);
        select * into live from projectord.generations g
         where g.projection = p_projection and g.generation = p_live and g.state = 'live' for update;
    end if;
    if found then
        select * into next from projectord.generations g
         where g.projection = p_projection and g.generation = p_next and g.state <> 'live' for update;
    end if;
    if not found then
        raise exception 'generations % and % of projection % are not what they were', p_live, p_next, p_projection
            using errcode = 'PJ011';
    end if;

    select position into strict head from projectord.log_head;
    if next.seal <> projectord.seal(next.generation, next.checkpoint, next.events, next.digest) or next.checkpoint > head then
        raise exception 'the checkpoint % of generation % of projection % is not what it was', next.checkpoint, p_next, p_projection
            using errcode = 'PJ009', hint = 'It was changed by hand, or the log is older. Drop the generation: rebuild --cancel.';
    end if;
    -- A live one whose own checkpoint cannot be believed is no measure, and nothing to go back to.
    seen := live.checkpoint;
    if live.seal <> projectord.seal(live.generation, live.checkpoint, live.events, live.digest) or live.checkpoint > head then
        seen := head;
        broken := jsonb_build_object('message', 'its checkpoint is not what it was');
    end if;
    if exists (select from projectord.shares s where s.projection = p_projection and s.generation = p_next)
       or seen - next.checkpoint > most
       -- Handlers that are not in the database cannot be run here.
       or seen > next.checkpoint and not exists (
              select from pg_catalog.pg_proc f
               where f.proname = 'projectord_apply' and f.pronamespace = to_regnamespace(quote_ident(next.schema_name))) then
        raise exception 'generation % of projection % has not caught up: it is at %, and the live one at %',
            p_next, p_projection, next.checkpoint, seen using errcode = 'PJ012';
    end if;
    if outside is not null then
        raise exception 'objects outside depend on the read model: %', outside
            using errcode = 'PJ014',
                  hint = 'Drop them, and make them again afterwards; or --force, which leaves them with the old rows.';
    end if;

    if next.checkpoint < seen then
        perform projectord.advance(next, seen);
    end if;
    execute format('alter schema %I rename to %I', live.schema_name, p_projection || '@' || p_live);
    execute format('alter schema %I rename to %I', next.schema_name, p_projection);

    update projectord.generations g set keep_until = clock_timestamp()
     where g.projection = p_projection and g.state = 'retired' and g.generation <> p_next;
    update projectord.generations g
       set state = 'retired', schema_name = p_projection || '@' || p_live, keep_until = clock_timestamp() + p_keep, error = broken
     where g.projection = p_projection and g.generation = p_live;
    update projectord.generations g
       set state = 'live', schema_name = p_projection, keep_until = null, held = false, error = null
     where g.projection = p_projection and g.generation = p_next
    returning g.checkpoint into strict checkpoint;
    update projectord.projections p
       set generation = p_next, rebuild_error = null, updated_at = clock_timestamp(),
           -- An error was the old generation's.
           error = null, state = case when p.state = 'halted' then 'catching_up' else p.state end
     where p.name = p_projection;
    perform pg_notify('projectord_control', '');
    -- Whatever the handlers' batches do without: this one is waited for.
    perform set_config('synchronous_commit', 'on', true);
end $$;
