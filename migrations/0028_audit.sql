-- What `projectord audit` asks of the database; it changes nothing. One line for each projection that has
-- a checkpoint: what its handlers should have run on, computed from the log in one scan for all, and what
-- they did run on.
create function projectord.audit() returns table (
    projection       text,
    generation       bigint,
    checkpoint       bigint,
    is_sealed        boolean,
    applied          bigint,
    parked           bigint,
    skipped          bigint,
    expected         bigint,
    applied_digest   bigint,
    expected_digest  bigint
) language sql stable as $$
    with build as materialized (
        select g.*, o.handles from projectord.generations g
          join projectord.projections p on p.name = g.projection and p.generation = g.generation
          -- Where that is missing, nothing is expected, which is not what was applied.
          left join projectord.sources o on o.projection = g.projection and o.generation = g.generation
    ), segments as materialized (
        -- From a checkpoint to the next.
        select lag(b.checkpoint, 1, 0::bigint) over (order by b.checkpoint) as after, b.checkpoint as upto
          from (select distinct checkpoint from build) b
    ), per_type as materialized (
        select s.upto, t.* from segments s, lateral (
            select e.type, count(*) as events, sum(projectord.digest(e)) as digest
              from projectord.events e where e.position > s.after and e.position <= s.upto group by e.type) t
    ), logged as (
        select b.projection, sum(t.events) as events, sum(t.digest) as digest
          from build b join per_type t on t.upto <= b.checkpoint and t.type like any(b.handles)
         group by b.projection
    ), aside as (
        select b.projection, count(*) filter (where k.position is not null) as parked,
               count(*) filter (where s.position is not null) as skipped,
               sum(projectord.digest(e)) as digest
          from build b
          join projectord.events e on e.position <= b.checkpoint and e.type like any(b.handles)
           and e.position in (select position from projectord.parked union all select position from projectord.skipped)
          left join projectord.skipped s on s.projection = b.projection and s.position = e.position
          left join projectord.parked k on k.projection = b.projection and k.generation = b.generation
           and k.position = e.position and s.position is null
         where s.position is not null or k.position is not null
         group by b.projection
    )
    select b.projection, b.generation, b.checkpoint,
           b.seal = projectord.seal(b.generation, b.checkpoint, b.events, b.digest),
           b.events, coalesce(a.parked, 0), coalesce(a.skipped, 0),
           coalesce(l.events, 0)::bigint - coalesce(a.parked, 0) - coalesce(a.skipped, 0),
           b.digest,
           mod(coalesce(l.digest, 0) - coalesce(a.digest, 0) + 4611686018427387904::numeric * 4611686018427387904::numeric,
               4611686018427387904::numeric)::bigint
      from build b left join logged l using (projection) left join aside a using (projection)
     order by b.projection
$$;
