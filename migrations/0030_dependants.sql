-- What lies outside a read model's schema and would go where it goes: all that `drop schema … cascade` would take,
-- which is also what a rename takes along. Parts of what is named are not named again.
create function projectord.dependants(p_schema name) returns setof text language sql stable as $$
    with recursive gone(classid, objid, objsubid) as (
        select d.classid, d.objid, 0 from pg_catalog.pg_depend d
         where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.deptype = 'n'
           and d.refobjid = to_regnamespace(quote_ident(p_schema))
         union
        select n.classid, n.objid, n.objsubid from gone g cross join lateral (
            select d.classid, d.objid, d.objsubid from pg_catalog.pg_depend d
             where d.refclassid = g.classid and d.refobjid = g.objid
               and (g.objsubid = 0 or d.refobjsubid = g.objsubid)
             union all
            -- What is an internal part of another takes the other along, as its rule takes a view.
            select d.refclassid, d.refobjid, d.refobjsubid from pg_catalog.pg_depend d
             where d.classid = g.classid and d.objid = g.objid and g.objsubid = 0 and d.deptype = 'i'
        ) n
    ), parts as (
        select g.*, case g.classid
                   when 'pg_catalog.pg_rewrite'::regclass then (select ev_class from pg_catalog.pg_rewrite where oid = g.objid)
                   when 'pg_catalog.pg_attrdef'::regclass then (select adrelid from pg_catalog.pg_attrdef where oid = g.objid)
                   when 'pg_catalog.pg_trigger'::regclass then (select tgrelid from pg_catalog.pg_trigger where oid = g.objid)
                   when 'pg_catalog.pg_policy'::regclass then (select polrelid from pg_catalog.pg_policy where oid = g.objid)
                   when 'pg_catalog.pg_constraint'::regclass then (select conrelid from pg_catalog.pg_constraint where oid = g.objid)
                   when 'pg_catalog.pg_statistic_ext'::regclass then (select stxrelid from pg_catalog.pg_statistic_ext where oid = g.objid)
                   -- That of a table of ours is named.
                   when 'pg_catalog.pg_publication_rel'::regclass then
                       (select c.oid from pg_catalog.pg_publication_rel r join pg_catalog.pg_class c on c.oid = r.prrelid
                         where r.oid = g.objid and c.relnamespace is distinct from to_regnamespace(quote_ident(p_schema)))
                   when 'pg_catalog.pg_type'::regclass then (select typrelid from pg_catalog.pg_type where oid = g.objid)
                   when 'pg_catalog.pg_class'::regclass then
                       case when g.objsubid > 0 then g.objid
                            else (select indrelid from pg_catalog.pg_index where indexrelid = g.objid) end
               end as relation
          from gone g
    )
    select distinct case when c.contype = 'f' then 'foreign key of ' || c.conrelid::regclass::text
                else it.type || ' ' || it.identity end
      from parts p
      cross join lateral pg_catalog.pg_identify_object(p.classid, p.objid, p.objsubid) it
      left join pg_catalog.pg_constraint c on p.classid = 'pg_catalog.pg_constraint'::regclass and c.oid = p.objid
     -- Null where it was dropped meanwhile.
     where it.identity is not null and it.schema is distinct from p_schema and it.schema is distinct from 'pg_toast'
       and not exists (select from gone w
                        where w.classid = 'pg_catalog.pg_class'::regclass and w.objid = p.relation and w.objsubid = 0)
       -- A trigger that is the server's own part of a foreign key; an array of a type; a check of a type.
       and not exists (select from pg_catalog.pg_trigger t
                        where p.classid = 'pg_catalog.pg_trigger'::regclass and t.oid = p.objid and t.tgisinternal)
       and not exists (select from pg_catalog.pg_type e
                        where p.classid = 'pg_catalog.pg_type'::regclass and e.typarray = p.objid)
       and coalesce(c.contypid, 0) = 0
       -- What a schema.sql may make for its types, and makes anew.
       and p.classid <> all (array['pg_catalog.pg_cast', 'pg_catalog.pg_transform']::regclass[])
     order by 1
$$;
