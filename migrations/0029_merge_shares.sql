-- Makes one checkpoint of those of the shares, once they have all come to the same place.
create function projectord.merge_shares(
    p_projection text, p_generation bigint, p_owner uuid, p_epoch bigint, out checkpoint bigint
) language plpgsql as $$
declare
    places bigint;
    all_events bigint;
    all_digests numeric;
begin
    perform from projectord.generations g
      where g.projection = p_projection and g.generation = p_generation
        and g.owner = p_owner and g.epoch = p_epoch for update;
    if not found then
        raise exception 'projection % generation % is not with % in epoch %', p_projection, p_generation, p_owner, p_epoch
            using errcode = 'PJ001';
    end if;
    select count(distinct s.checkpoint), min(s.checkpoint), sum(s.events), sum(s.digest)
      into places, checkpoint, all_events, all_digests
      from projectord.shares s where s.projection = p_projection and s.generation = p_generation;
    if places <> 1 then
        raise exception 'the shares of projection % generation % are at % places', p_projection, p_generation, places
            using errcode = 'PJ012';
    end if;
    all_digests := mod(all_digests, 4611686018427387904);
    update projectord.generations g
       set checkpoint = merge_shares.checkpoint, events = all_events, digest = all_digests::bigint,
           seal = projectord.seal(p_generation, merge_shares.checkpoint, all_events, all_digests::bigint)
     where g.projection = p_projection and g.generation = p_generation;
    delete from projectord.shares s where s.projection = p_projection and s.generation = p_generation;
end $$;
