-- Drops a generation that readers do not see, with its tables and everything that depends on them. Whoever is
-- working on it is refused at the next batch. Whether it was there.
create function projectord.drop_generation(p_projection text, p_generation bigint) returns boolean
language plpgsql as $$
declare
    gone text;
begin
    delete from projectord.generations g
     where g.projection = p_projection and g.generation = p_generation and g.state <> 'live'
    returning g.schema_name into gone;
    if gone is null then
        return false;
    end if;
    execute format('drop schema if exists %I cascade', gone);
    perform pg_notify('projectord_control', '');
    return true;
end $$;
