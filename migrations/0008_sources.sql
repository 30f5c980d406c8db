-- What each generation was built from. Not with its checkpoint, which each batch writes anew: as long as somebody looks
-- at an older state, every version of that row stays, and the shorter it is, the more of them fit on its page.
create table projectord.sources (
    projection  text not null,
    generation  bigint not null,
    -- The digest of each file.
    files       jsonb not null,
    -- The event types that have a handler, as patterns of LIKE.
    handles     text[] not null,
    primary key (projection, generation),
    foreign key (projection, generation) references projectord.generations on delete cascade
);

comment on table projectord.sources is 'Files and event types that each generation was built from.';
