-- What lies outside a read model's schema and depends on its tables: it would go where they go.
create function projectord.dependants(p_schema name) returns setof text language sql stable as $$
    with ours as (select oid from pg_catalog.pg_class where relnamespace = to_regnamespace(quote_ident(p_schema)))
    select case v.relkind when 'm' then 'materialized view ' else 'view ' end || v.oid::regclass::text
      from pg_catalog.pg_depend d
      join pg_catalog.pg_rewrite r on r.oid = d.objid and d.classid = 'pg_catalog.pg_rewrite'::regclass
      join pg_catalog.pg_class v on v.oid = r.ev_class
     where d.refobjid in (select oid from ours)
       and v.relnamespace is distinct from to_regnamespace(quote_ident(p_schema))
     union
    select 'foreign key of ' || c.conrelid::regclass::text
      from pg_catalog.pg_constraint c
      join pg_catalog.pg_class t on t.oid = c.conrelid
     where c.contype = 'f' and c.confrelid in (select oid from ours)
       and t.relnamespace is distinct from to_regnamespace(quote_ident(p_schema))
     order by 1
$$;
