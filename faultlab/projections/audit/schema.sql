-- One row for each event that arrives; nothing here refuses a second one, so that it shows.
create table arrivals (
    arrival    bigint generated always as identity,   -- the order in which they came
    position   bigint not null,
    stream_id  uuid not null,
    version    bigint not null,
    type       text not null,
    amount     bigint not null
);
