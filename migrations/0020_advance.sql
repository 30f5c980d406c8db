-- Applies the events from a generation's checkpoint, or a share's, up to a position: those of streams that
-- have a parked event wait behind it, those that somebody skipped are left out, handlers run on the others.
-- The caller has locked the row. Answers where the checkpoint is now.
create function projectord.advance(p_build projectord.generations, p_to bigint, p_share integer default null)
returns bigint language plpgsql as $$
declare
    parked uuid[];
    skipped bigint[];
    handles text[];
    shares integer;
    after constant bigint := p_build.checkpoint;
begin
    if p_share is not null then
        select count(*) into strict shares from projectord.shares s
         where s.projection = p_build.projection and s.generation = p_build.generation;
    end if;
    select array_agg(distinct p.stream_id) into parked from projectord.parked p
     where p.projection = p_build.projection and p.generation = p_build.generation
       and (p_share is null or projectord.share_of(p.stream_id, shares) = p_share);
    select array_agg(s.position) into skipped from projectord.skipped s
     where s.projection = p_build.projection and s.position > after and s.position <= p_to;
    if parked is not null then
        select o.handles into strict handles from projectord.sources o
         where o.projection = p_build.projection and o.generation = p_build.generation;
        insert into projectord.parked (projection, generation, position, stream_id, version, type)
        select p_build.projection, p_build.generation, e.position, e.stream_id, e.version, e.type
          from projectord.events e
         where e.position > after and e.position <= p_to
           and e.stream_id = any(parked) and e.type like any(handles)
           and (skipped is null or e.position <> all(skipped));
    end if;
    p_build.checkpoint := p_to;
    return projectord.run_handlers(p_build, after, p_to, parked, skipped, p_share, shares);
end $$;
