-- An event's digest, from the same fields in the same order as the loop over the handlers computes it.
create function projectord.digest(e projectord.events) returns bigint language sql stable as $$
    select hash_record_extended(
        row(e.position, e.stream_id, e.stream_type, e.version, e.type, e.data, e.metadata, e.recorded_at), 0)
$$;
