-- Gives the objects of one schema the grants and the comments that those of the same name have in another, so
-- that what was granted to readers of the one generation holds for the next. Takes nothing away.
create function projectord.carry_over(p_from name, p_to name) returns void language plpgsql as $$
declare
    it record;
    said text;
begin
    for it in
        -- The schema itself, its relations, their columns, its functions: how each is named in a GRANT, what
        -- has been granted there, and what is granted here.
        with pair as (
            select old.oid as old_oid, new.oid as new_oid from pg_catalog.pg_namespace old, pg_catalog.pg_namespace new
             where old.nspname = p_from and new.nspname = p_to
        ), granted as (
            select 'schema ' || quote_ident(p_to) as object, null::text as columns, old.nspowner as owner,
                   old.nspacl as before, new.nspacl as now
              from pair join pg_catalog.pg_namespace old on old.oid = old_oid
                        join pg_catalog.pg_namespace new on new.oid = new_oid
             union all
            select format('%s %I.%I', case old.relkind when 'S' then 'sequence' else 'table' end, p_to, old.relname),
                   null, old.relowner, old.relacl, new.relacl
              from pair join pg_catalog.pg_class old on old.relnamespace = old_oid
                        join pg_catalog.pg_class new on new.relnamespace = new_oid and new.relname = old.relname
                         and (new.relkind = 'S') = (old.relkind = 'S')
             where old.relkind in ('r', 'v', 'm', 'p', 'f', 'S')
             union all
            select format('table %I.%I', p_to, old.relname), quote_ident(a.attname), old.relowner, a.attacl, b.attacl
              from pair join pg_catalog.pg_class old on old.relnamespace = old_oid
                        join pg_catalog.pg_class new on new.relnamespace = new_oid and new.relname = old.relname
                        join pg_catalog.pg_attribute a on a.attrelid = old.oid and a.attacl is not null
                        join pg_catalog.pg_attribute b on b.attrelid = new.oid and b.attname = a.attname
             union all
            select format('function %I.%I(%s)', p_to, old.proname, pg_get_function_identity_arguments(new.oid)),
                   null, old.proowner, old.proacl, new.proacl
              from pair join pg_catalog.pg_proc old on old.pronamespace = old_oid and old.prokind in ('f', 'a', 'w')
                        join pg_catalog.pg_proc new on new.pronamespace = new_oid and new.proname = old.proname
                         and new.proargtypes = old.proargtypes
        )
        select g.object, g.columns, a.privilege_type, a.is_grantable,
               case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
          from granted g, aclexplode(g.before) a
         where a.grantee <> g.owner
           and not exists (select from aclexplode(g.now) n
                            where n.grantee = a.grantee and n.privilege_type = a.privilege_type
                              and n.is_grantable >= a.is_grantable)
    loop
        execute format('grant %s%s on %s to %s%s', it.privilege_type, ' (' || it.columns || ')', it.object, it.grantee,
                       case when it.is_grantable then ' with grant option' else '' end);
    end loop;

    for it in
        select old.relname, old.oid as old_oid, new.oid as new_oid, a.attname, coalesce(a.attnum, 0) as old_number,
               coalesce(b.attnum, 0) as new_number,
               case new.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                                when 'i' then 'index' when 'f' then 'foreign table' else 'table' end as kind
          from pg_catalog.pg_class old
          join pg_catalog.pg_class new on new.relname = old.relname and new.relkind = old.relkind
          join pg_catalog.pg_description d on d.classoid = 'pg_catalog.pg_class'::regclass and d.objoid = old.oid
          left join pg_catalog.pg_attribute a on d.objsubid > 0 and a.attrelid = old.oid and a.attnum = d.objsubid
          left join pg_catalog.pg_attribute b on b.attrelid = new.oid and b.attname = a.attname
         where old.relnamespace = to_regnamespace(quote_ident(p_from))
           and new.relnamespace = to_regnamespace(quote_ident(p_to))
           and (d.objsubid = 0 or b.attnum is not null)
    loop
        if it.new_number > 0 and col_description(it.new_oid, it.new_number) is null then
            said := col_description(it.old_oid, it.old_number);
            execute format('comment on column %I.%I.%I is %L', p_to, it.relname, it.attname, said);
        elsif it.new_number = 0 and obj_description(it.new_oid, 'pg_class') is null then
            said := obj_description(it.old_oid, 'pg_class');
            execute format('comment on %s %I.%I is %L', it.kind, p_to, it.relname, said);
        end if;
    end loop;
end $$;
