-- Moves generations that want none of the events after their checkpoints to the log's head, all in one transaction: with
-- many projections, each of which wants few event types, a batch for each would do nothing but that. The log is read once
-- for all of them. Answers which were moved, or were there; for the others there is something to apply, or to find out.
create function projectord.pass_over(
    p_projections  text[],
    p_generations  bigint[],
    p_checkpoints  bigint[],   -- as the caller knows them
    p_owners       uuid[],
    p_epochs       bigint[],
    p_most         bigint      -- who is further behind than so many events has something to do anyway
) returns table (projection text, generation bigint, checkpoint bigint) language plpgsql as $$
#variable_conflict use_column
declare
    head bigint;
    -- The event types since, and where each came last.
    types text[];
    lasts bigint[];
begin
    select position into strict head from projectord.log_head;
    select array_agg(it.type), array_agg(it.last) into types, lasts
      from (select e.type, max(e.position) as last from projectord.events e
             where e.position > greatest(head - p_most, (select min(it) from unnest(p_checkpoints) it))
               and e.position <= head
             group by e.type) it;
    return query
      with known as (
          select g.*
            from unnest(p_projections, p_generations, p_checkpoints, p_owners, p_epochs)
                     as mine (projection, generation, checkpoint, owner, epoch)
            join projectord.generations g using (projection, generation, checkpoint, owner, epoch)
      ), passing as (
          select g.projection, g.generation
            from known join projectord.generations g using (projection, generation, checkpoint, owner, epoch)
            join projectord.sources o using (projection, generation)
           where g.checkpoint between head - p_most and head - 1
             and not exists (select from unnest(types, lasts) it (type, last)
                              where it.last > g.checkpoint and it.type like any(o.handles))
           order by g.projection, g.generation
             for update of g skip locked
      ), moved as (
          update projectord.generations g
             set checkpoint = head, seal = projectord.seal(g.generation, head, g.events, g.digest)
            from passing p
           where g.projection = p.projection and g.generation = p.generation
          returning g.projection, g.generation
      )
      select m.projection, m.generation, head from moved m
       union all
      select k.projection, k.generation, head from known k where k.checkpoint = head;
    -- As for a batch: what a crash takes is moved again.
    perform set_config('synchronous_commit', 'off', true);
end $$;
