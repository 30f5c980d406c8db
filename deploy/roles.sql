-- Least privilege: three roles, and one more for each projection. Run it once as a superuser in the database
-- of [postgres] url, before `projectord setup`; it is safe to repeat.
--
--   projectord_owner      owns the schema `projectord`; runs `projectord setup`, after each upgrade
--   projectord_projector  runs the daemon and the command line
--   projectord_reader     reads the log and every read model
--   projectord_<name>     owns one read model; its handlers run as this role, which may read the log, write
--                         its own schema, and nothing else. The daemon has them made when it builds.
--
-- Then give the two that log in a way to do so:  alter role projectord_projector password '…';

do $$
declare
    role text;
begin
    foreach role in array array['projectord_owner', 'projectord_projector', 'projectord_reader'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = role) then
            execute format('create role %I login', role);
        end if;
    end loop;
    -- To make the role of a projection.
    alter role projectord_owner createrole;
    execute format('grant create on database %I to projectord_owner, projectord_projector', current_database());
end $$;

create schema if not exists projectord authorization projectord_owner;
grant usage on schema projectord to projectord_projector, projectord_reader;

-- What `projectord setup` makes, now and after an upgrade, and what it has made already.
alter default privileges for role projectord_owner in schema projectord
    grant select, insert, update, delete on tables to projectord_projector;
alter default privileges for role projectord_owner in schema projectord
    grant select on tables to projectord_reader;
grant select, insert, update, delete on all tables in schema projectord to projectord_projector;
grant select on all tables in schema projectord to projectord_reader;

-- The role of a projection, made where it is new. While this function is there, the daemon builds read
-- models that belong to such roles; without it, handlers run with the daemon's own rights.
create or replace function projectord.handler_role(p_projection text) returns name
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    role constant name := 'projectord_' || p_projection;
begin
    if p_projection !~ '^[a-z][a-z0-9_]{0,47}$' or p_projection in ('owner', 'projector', 'reader') then
        raise exception '% cannot name a projection', p_projection;
    end if;
    -- PostgreSQL refuses two grants on one object at a time.
    perform pg_advisory_xact_lock(hashtextextended('projectord.handler_role', 0));
    if not exists (select from pg_catalog.pg_roles where rolname = role) then
        execute format('create role %I nologin', role);
    end if;
    if not pg_has_role('projectord_projector', role, 'member') then
        execute format('grant %I to projectord_projector', role);
    end if;
    execute format('grant usage on schema projectord to %I', role);
    execute format('grant select on projectord.events to %I', role);
    return role;
end $$;

alter function projectord.handler_role(text) owner to projectord_owner;
revoke all on function projectord.handler_role(text) from public;
grant execute on function projectord.handler_role(text) to projectord_projector;
