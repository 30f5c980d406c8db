-- The seal of a checkpoint. No secret: it tells an edit by hand from the daemon's own work.
create function projectord.seal(p_generation bigint, p_checkpoint bigint, p_events bigint, p_digest bigint)
returns bigint language sql immutable as $$
    select hashtextextended(concat_ws(' ', p_generation, p_checkpoint, p_events, p_digest), 1112101109)
$$;
