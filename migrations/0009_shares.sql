-- A build that several workers share, where the projection says that its rows do not cross streams: each has
-- the streams of its share, and a checkpoint of its own. When all have come to `built_to` they are one again.
create table projectord.shares (
    projection  text not null,
    generation  bigint not null,
    share       integer not null check (share >= 0),
    checkpoint  bigint not null default 0,
    events      bigint not null default 0,
    digest      bigint not null default 0,
    primary key (projection, generation, share),
    foreign key (projection, generation) references projectord.generations on delete cascade
) with (fillfactor = 50);

comment on table projectord.shares is 'Checkpoints of builds that several workers share.';
