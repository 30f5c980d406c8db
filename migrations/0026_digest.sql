-- An event's digest, from its fields as they are now: what `audit` holds against what the handlers ran on.
create function projectord.digest(e projectord.events) returns bigint language sql stable as $$
    select hash_record_extended(
        row(e.position, e.stream_id, e.stream_type, e.version, e.type, e.data, e.metadata, e.recorded_at), 0)
        & 4611686018427387903
$$;
