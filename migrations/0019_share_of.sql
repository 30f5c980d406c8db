-- Which share of a build a stream belongs to.
create function projectord.share_of(p_stream_id uuid, p_shares integer) returns integer
language sql immutable parallel safe as $$
    select ((uuid_hash_extended(p_stream_id, 0) & 1073741823) % p_shares)::integer
$$;
