-- Gives the objects of one schema the grants and the comments that those of the same name have in another, so
-- that what was granted to readers of the one generation holds for the next. Takes nothing away.
create function projectord.carry_over(p_from name, p_to name) returns void language plpgsql as $$
declare
    it record;
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
        -- The same objects, but for the schema, whose comment is projectord's own, and constraints: how each is named in a COMMENT, what was said there, and is said here.
        with pair as (
            select old.oid as old_oid, new.oid as new_oid from pg_catalog.pg_namespace old, pg_catalog.pg_namespace new
             where old.nspname = p_from and new.nspname = p_to
        ), relation as (
            select old.oid as old_oid, new.oid as new_oid, new.relname,
                   case new.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                                    when 'i' then 'index' when 'f' then 'foreign table' else 'table' end as kind
              from pair join pg_catalog.pg_class old on old.relnamespace = pair.old_oid
                        join pg_catalog.pg_class new on new.relnamespace = pair.new_oid and new.relname = old.relname
                         and new.relkind = old.relkind
        ), comment as (
            select format('%s %I.%I', kind, p_to, relname) as object, obj_description(old_oid, 'pg_class') as before,
                   obj_description(new_oid, 'pg_class') as now
              from relation
             union all
            select format('column %I.%I.%I', p_to, relname, b.attname), col_description(old_oid, a.attnum),
                   col_description(new_oid, b.attnum)
              from relation join pg_catalog.pg_attribute a on a.attrelid = old_oid and a.attnum > 0
                            join pg_catalog.pg_attribute b on b.attrelid = new_oid and b.attname = a.attname
             where kind <> 'index'
             union all
            select format('constraint %I on %I.%I', b.conname, p_to, relname), obj_description(a.oid, 'pg_constraint'),
                   obj_description(b.oid, 'pg_constraint')
              from relation join pg_catalog.pg_constraint a on a.conrelid = old_oid
                            join pg_catalog.pg_constraint b on b.conrelid = new_oid and b.conname = a.conname
             union all
            select format('routine %I.%I(%s)', p_to, new.proname, pg_get_function_identity_arguments(new.oid)),
                   obj_description(old.oid, 'pg_proc'), obj_description(new.oid, 'pg_proc')
              from pair join pg_catalog.pg_proc old on old.pronamespace = old_oid and old.prokind <> 'a'
                        join pg_catalog.pg_proc new on new.pronamespace = new_oid and new.proname = old.proname
                         and new.proargtypes = old.proargtypes and new.prokind <> 'a'
        )
        select object, before from comment where before is not null and now is null
    loop
        execute format('comment on %s is %L', it.object, it.before);
    end loop;
end $$;
