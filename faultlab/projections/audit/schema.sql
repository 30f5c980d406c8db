-- Insert only and without a unique key, so that an event applied twice shows.
create table seen (nth bigint generated always as identity, position bigint, stream_id uuid, version bigint);
