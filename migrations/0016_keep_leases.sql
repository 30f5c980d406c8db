-- A daemon's heartbeat, in one round trip and by the database's clock alone: it is here, keeps what it
-- owns, takes what is free, and learns what it should hand to a daemon that has less to do.
--
-- A lease is free when its owner gave it back, did not renew it in time, or is gone: each daemon holds an
-- advisory lock by its id in the session that hears notifications, and the server frees that as soon as
-- the process has died. Half-open connections keep it; those the expiry ends.
create function projectord.keep_leases(
    p_owner    uuid,
    p_host     text,
    p_pid      integer,
    p_version  text,
    p_able     text[],
    p_life     interval
) returns table (lease text, lease_epoch bigint, hand_over boolean) language plpgsql as $$
declare
    now constant timestamptz := clock_timestamp();
    free record;
    other record;
    mine bigint;
    spare text[] := '{}';
    next_spare text;
begin
    lock table projectord.leases in share row exclusive mode;

    -- The clock may have been set back: nothing was seen, freed or promised later than now.
    update projectord.daemons d set seen_at = now where d.seen_at > now;
    update projectord.leases l set free_since = now where l.free_since > now;
    update projectord.leases l set expires_at = now + p_life where l.owner is not null and l.expires_at > now + p_life;

    delete from projectord.daemons d
     where d.seen_at < now - interval '1 hour'
        or d.id <> p_owner and d.seen_at < now - interval '400 milliseconds'
           and pg_try_advisory_xact_lock(hashtextextended(d.id::text, 0));
    insert into projectord.daemons (id, host, pid, version, able) values (p_owner, p_host, p_pid, p_version, p_able)
        on conflict (id) do update set able = excluded.able, seen_at = now;

    -- A lease that was lost goes on from the highest epoch that the checkpoints know.
    insert into projectord.leases (name, epoch)
    select able, coalesce((select max(g.epoch) from projectord.generations g where g.projection = able), 0)
      from unnest(p_able) able
        on conflict do nothing;

    update projectord.leases l set owner = null, free_since = now
     where l.owner is not null and l.owner <> p_owner
       and (l.expires_at < now or not exists (select from projectord.daemons d where d.id = l.owner));
    update projectord.leases l set expires_at = now + p_life where l.owner = p_owner and l.name = any(p_able);
    update projectord.leases l set owner = null, free_since = now where l.owner = p_owner and l.name <> all(p_able);

    for free in
        select l.name, l.free_since from projectord.leases l
         where l.owner is null and l.name = any(p_able) order by l.free_since, l.name
    loop
        select count(*) into mine from projectord.leases l where l.owner = p_owner;
        -- Whoever has less to do goes first, for a while.
        if free.free_since > now - interval '3 seconds' and exists (
            select from projectord.daemons d
             where d.id <> p_owner and d.seen_at > now - p_life and free.name = any(d.able)
               and (select count(*) from projectord.leases l where l.owner = d.id) < mine) then
            continue;
        end if;
        update projectord.leases l set owner = p_owner, epoch = l.epoch + 1, expires_at = now + p_life
         where l.name = free.name;
    end loop;

    -- What others have less of, they get: down to one more than they have. What is free counts as theirs:
    -- they are about to take it.
    select count(*) into mine from projectord.leases l where l.owner = p_owner;
    for other in
        select d.able, (select count(*) from projectord.leases l
                         where l.owner = d.id or l.owner is null and l.name = any(d.able)) as held
          from projectord.daemons d
         where d.id <> p_owner and d.seen_at > now - p_life order by held, d.id
    loop
        while other.held + 1 < mine loop
            select min(l.name) into next_spare from projectord.leases l
             where l.owner = p_owner and l.name = any(other.able) and l.name <> all(spare);
            exit when next_spare is null;
            spare := spare || next_spare;
            mine := mine - 1;
            other.held := other.held + 1;
        end loop;
    end loop;

    return query select l.name, l.epoch, l.name = any(spare) from projectord.leases l where l.owner = p_owner;
end $$;
