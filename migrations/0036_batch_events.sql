-- The events of a range that a generation's handlers run on.
create function projectord.batch_events(p_projection text, p_generation bigint, p_after bigint, p_to bigint)
returns setof projectord.events language sql stable as $$
    select e.*
      from projectord.events e
      join projectord.sources o on o.projection = p_projection and o.generation = p_generation
     where e.position > p_after and e.position <= p_to and e.type like any(o.handles)
       and not exists (select from projectord.parked k
                        where k.projection = p_projection and k.generation = p_generation and k.position = e.position)
       and not exists (select from projectord.skipped s where s.projection = p_projection and s.position = e.position)
     order by e.position
$$;
