-- Takes out the first parked event of a stream, for a retry by handlers that are not in the database. Whether it
-- was there, and the first.
create function projectord.unpark(p_projection text, p_generation bigint, p_position bigint) returns boolean
language plpgsql as $$
begin
    delete from projectord.parked p
     where p.projection = p_projection and p.generation = p_generation and p.position = p_position
       and not exists (select from projectord.parked before
                        where before.projection = p_projection and before.generation = p_generation
                          and before.stream_id = p.stream_id and before.position < p_position);
    return found;
end $$;
