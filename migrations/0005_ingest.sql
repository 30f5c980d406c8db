-- Copies events of the RethinkDB store into the log. Events that are in the log already are passed
-- over; so is one whose predecessor is not, and every later one of its stream: the caller fetches what
-- is missing and comes again. So any batch, in any order, as often as one likes, keeps every stream
-- dense. A second caller waits for the first; the lock is the fence.
create function projectord.ingest(
    in  p_store_id     uuid,
    in  p_stream_ids   uuid[],
    in  p_stream_types text[],
    in  p_versions     bigint[],
    in  p_types        text[],
    in  p_data         jsonb[],
    in  p_metadata     jsonb[],
    in  p_commit_ids   uuid[],
    in  p_recorded_at  timestamptz[],
    out head           bigint,  -- the log's head afterwards
    out added          bigint   -- how many of the events are new in the log
) language plpgsql as $$
declare
    known_store uuid;
    diverged record;
    in_order boolean;
begin
    select position, store_id into strict head, known_store from projectord.log_head for update;
    if known_store is null and head = 0 then
        update projectord.log_head set store_id = p_store_id;
    elsif known_store is distinct from p_store_id then
        raise exception 'the log copies store %, not store %', coalesce(known_store::text, '(itself)'), p_store_id
            using errcode = 'PJ005';
    end if;

    -- What comes as it should, each stream going on where the log has it, needs no sorting of whole events.
    select bool_and(version = coalesce(before, (select e.version from projectord.events e
                                                 where e.stream_id = b.stream_id
                                                 order by e.version desc limit 1), 0) + 1)
      into in_order
      from (select stream_id, version, lag(version) over (partition by stream_id order by nth) as before
              from unnest(p_stream_ids, p_versions) with ordinality as u (stream_id, version, nth)) b;

    if in_order then
        insert into projectord.events
        select head + nth, p_stream_ids[nth], p_stream_types[nth], p_versions[nth], p_types[nth], p_data[nth],
               p_metadata[nth], p_commit_ids[nth], p_recorded_at[nth]
          from generate_series(1, cardinality(p_stream_ids)) as nth;
    else
        with batch as (
            select * from unnest(p_stream_ids, p_stream_types, p_versions, p_types, p_data, p_metadata,
                                 p_commit_ids, p_recorded_at)
                with ordinality as b (stream_id, stream_type, version, type, data, metadata, commit_id,
                                      recorded_at, nth)
        ), known as materialized (
            select s.stream_id, coalesce((select e.version from projectord.events e
                                           where e.stream_id = s.stream_id
                                           order by e.version desc limit 1), 0) as version
              from (select distinct stream_id from batch) s
        ), fresh as (
            -- A stream's events keep the order of their versions, whatever order they came in.
            select b.*, k.version + row_number() over in_stream as next_version, max(b.nth) over in_stream as turn
              from batch b join known k using (stream_id)
             where b.version > k.version
            window in_stream as (partition by b.stream_id order by b.version)
        )
        insert into projectord.events
        select head + row_number() over (order by turn, version), stream_id, stream_type, version, type, data, metadata,
               commit_id, recorded_at
          from fresh where version = next_version;
    end if;
    get diagnostics added = row_count;

    -- What was there already must be the same.
    if added < cardinality(p_stream_ids) then
        select b.stream_id, b.version into diverged
          from unnest(p_stream_ids, p_versions, p_commit_ids) as b (stream_id, version, commit_id)
          join projectord.events e using (stream_id, version)
         where e.commit_id <> b.commit_id
         limit 1;
        if found then
            raise exception 'stream % version % is another commit in the log than in the store',
                diverged.stream_id, diverged.version using errcode = 'PJ006';
        end if;
    end if;

    if added > 0 then
        head := head + added;
        update projectord.log_head set position = head;
        perform pg_notify('projectord_log', head::text);
    end if;
end $$;
