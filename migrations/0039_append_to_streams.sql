-- Appends commits in one transaction, each after its version or not at all, in this order: for writers that wait for the
-- same flush. `p_ends` has where each commit's events end in the arrays of all.
create function projectord.append_to_streams(
    p_stream_ids    uuid[],
    p_stream_types  text[],
    p_ats           bigint[],
    p_commit_ids    uuid[],
    p_ends          integer[],
    p_types         text[],
    p_data          jsonb[],
    p_metadata      jsonb[]
) returns table (outcome text, actual bigint, actual_type text) language plpgsql as $$
declare
    begins integer := 1;
begin
    for nth in 1 .. cardinality(p_ends) loop
        select a.outcome, a.actual, a.actual_type into outcome, actual, actual_type
          from projectord.append_to_stream(
                   p_stream_ids[nth], p_stream_types[nth], p_ats[nth], p_commit_ids[nth],
                   p_types[begins:p_ends[nth]], p_data[begins:p_ends[nth]], p_metadata[begins:p_ends[nth]]) a;
        begins := p_ends[nth] + 1;
        return next;
    end loop;
end $$;
