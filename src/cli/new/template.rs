//! A projection to begin with, where no events are looked at.

use super::NewFile;

const MANIFEST: &str = r#"# Optional. Without it, each handler is for the event type that its file is named after.
description = "What NAME is for."

# What to do when a handler fails: "halt", or "park" to set the stream aside.
on_error = "halt"

# Event types whose names make no file name, or that share a handler; * and ? stand for any text and any character:
# [on]
# "Item Renamed" = "ItemChanged.sql"
"#;

const SCHEMA: &str =
    "-- The read model's tables and indexes. Leave names unqualified: readers say `select … from NAME.items`.
-- The rows are disposable: change a file, and they are made anew from the first event.

create table items (
    id          uuid primary key,       -- the stream
    name        text,
    version     bigint not null,        -- how far this row has come in its stream
    created_at  timestamptz not null,
    updated_at  timestamptz not null
) with (fillfactor = 85);               -- room for updates in place
";

const CREATED: &str = "-- Runs for each ItemCreated: rename the file to the type of your event. In scope is `event`: position, stream_id,
-- stream_type, version, type, data (jsonb), metadata (jsonb), recorded_at.
insert into items (id, name, version, created_at, updated_at)
values (event.stream_id, event.data->>'name', event.version, event.recorded_at, event.recorded_at);
";

const CHANGED: &str =
    "-- Runs for each ItemChanged. Take times from the event, not now(): a replay must give the same rows.
update items
   set name = event.data->>'name', version = event.version, updated_at = event.recorded_at
 where id = event.stream_id;
";

const TEST: &str = r#"# `projectord test NAME` runs this: events that are given, and the rows that must come of them.

[[given]]
stream = "first"            # a label, or a UUID
type = "ItemCreated"
data = { name = "Pen" }

[[given]]
stream = "first"
type = "ItemChanged"
data = { name = "Pencil" }

[[expect]]
after = 1                   # so many events; all of them unless given
table = "items"
rows = [{ id = "first", name = "Pen", version = 1 }]

[[expect]]
table = "items"
rows = [{ id = "first", name = "Pencil", version = 2 }]
"#;

pub(super) fn files(name: &str) -> Vec<NewFile> {
    [
        ("projection.toml", MANIFEST),
        ("schema.sql", SCHEMA),
        ("ItemCreated.sql", CREATED),
        ("ItemChanged.sql", CHANGED),
        ("tests/first.toml", TEST),
    ]
    .map(|(path, text)| NewFile::new(path, text.replace("NAME", name)))
    .into()
}
