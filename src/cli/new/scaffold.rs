//! A projection's files for the events that were seen: one table, a row for each stream.

use std::path::Path;

use serde_json::{Map, Value};
use sqlx::PgConnection;

use super::NewFile;
use super::guess::{Kind, snake_case};
use super::seen::Type;
use crate::cli::exit::{Code, Failed};
use crate::log::LogEvent;
use crate::projection;
use crate::testing::{Given, GivenEvent, ReadModel, TestError};

/// The columns that every row has, whatever the events say.
const OWN: [&str; 6] = ["id", "version", "last_event", "created_at", "updated_at", "event"];
/// What the stream of the first test is called.
const LABEL: &str = "first";

/// What is made of the events.
pub(super) struct Scaffold {
    name: String,
    glob: String,
    /// As SQL writes it.
    table: String,
    columns: Vec<Column>,
    types: Vec<Type>,
    /// The files of the handlers, in the order of the types.
    files: Vec<String>,
}

struct Column {
    key: String,
    kind: Kind,
    /// As SQL writes it.
    sql: String,
}

impl Scaffold {
    pub(super) async fn new(
        connection: &mut PgConnection,
        name: &str,
        glob: &str,
        types: Vec<Type>,
    ) -> Result<Self, sqlx::Error> {
        let mut keys: Vec<(String, Kind)> = Vec::new();
        for key in types.iter().flat_map(|it| &it.keys) {
            match keys.iter_mut().find(|(name, _)| name == &key.name) {
                Some((_, kind)) => *kind = kind.with(key.kind),
                None => keys.push((key.name.clone(), key.kind)),
            }
        }
        let mut taken: Vec<String> = OWN.map(str::to_owned).into();
        // `event` is what handlers call the event.
        let table = if name == "event" { "event_streams" } else { name };
        let mut names = vec![table.to_owned()];
        names.extend(keys.iter().map(|(key, _)| snake_case(key, &mut taken)));
        let quoted: Vec<(String,)> = sqlx::query_as(
            "select quote_ident(name) from unnest($1::text[]) with ordinality n (name, place) order by place",
        )
        .bind(names)
        .fetch_all(connection)
        .await?;
        let mut quoted = quoted.into_iter().map(|(name,)| name);
        let table = quoted.next().unwrap_or_default();
        let columns =
            keys.into_iter().zip(quoted).map(|((key, kind), sql)| Column { key, kind, sql }).collect();
        let mut taken = vec!["schema".to_owned()];
        let files = types.iter().map(|it| file_of(&it.name, &mut taken)).collect();
        Ok(Self { name: name.into(), glob: glob.into(), table, columns, types, files })
    }

    pub(super) fn files(&self) -> Vec<NewFile> {
        let mut files =
            vec![NewFile::new("projection.toml", self.manifest()), NewFile::new("schema.sql", self.schema())];
        let handlers = self.types.iter().zip(&self.files);
        files.extend(handlers.map(|(event_type, file)| NewFile::new(file, self.handler(event_type))));
        files
    }

    fn manifest(&self) -> String {
        let description = text(&format!("One row for each stream with events like {}.", self.glob));
        let mut manifest = format!(
            "description = {description}\n\n\
             # No two streams' events touch the same row: several workers may build it. Take this out where that ends.\n\
             partition = \"stream\"\n"
        );
        let odd =
            self.types.iter().zip(&self.files).filter(|(it, file)| format!("{}.sql", it.name) != **file);
        for (nth, (it, file)) in odd.enumerate() {
            if nth == 0 {
                manifest.push_str("\n[on]\n");
            }
            manifest.push_str(&format!("{} = {}\n", quoted_key(&it.name), text(file)));
        }
        manifest
    }

    fn schema(&self) -> String {
        let mut rows = vec![("id", "uuid primary key")];
        rows.extend(self.columns.iter().map(|column| (column.sql.as_str(), column.kind.sql_type())));
        rows.extend([("last_event", "text not null"), ("version", "bigint not null")]);
        rows.extend([("created_at", "timestamptz not null"), ("updated_at", "timestamptz not null")]);
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines: Vec<String> = rows.iter().map(|(name, of)| format!("    {name:width$}  {of}")).collect();
        let seen: Vec<String> = self
            .types
            .iter()
            .map(|it| format!("--   {} ({} in the log)", crate::text::plain(&it.name), it.events))
            .collect();
        format!(
            "-- A proposal, from the newest events of each of these types:\n{}\n\
             -- One row for each stream. Take out what nobody reads, and add the indexes that readers need.\n\n\
             create table {} (\n{}\n) with (fillfactor = 85);\n",
            seen.join("\n"),
            self.table,
            lines.join(",\n")
        )
    }

    /// Puts in what the event says, whether or not it is the stream's first.
    fn handler(&self, event_type: &Type) -> String {
        let (mut columns, mut values, mut sets) =
            (vec!["id".to_owned()], vec!["event.stream_id".to_owned()], Vec::new());
        for key in &event_type.keys {
            let Some(column) = self.columns.iter().find(|column| column.key == key.name) else { continue };
            let sql = &column.sql;
            columns.push(sql.clone());
            values.push(column.kind.read(&column.key));
            sets.push(match key.always {
                true => format!("{sql} = excluded.{sql}"),
                false => format!("{sql} = coalesce(excluded.{sql}, t.{sql})"),
            });
        }
        for (column, value) in [("last_event", "event.type"), ("version", "event.version")] {
            columns.push(column.into());
            values.push(value.into());
            sets.push(format!("{column} = excluded.{column}"));
        }
        columns.extend(["created_at".into(), "updated_at".into()]);
        values.extend(["event.recorded_at".into(), "event.recorded_at".into()]);
        sets.push("updated_at = excluded.updated_at".into());
        format!(
            "-- {}\ninsert into {} as t ({})\nvalues (\n    {}\n)\non conflict (id) do update\n   set {};\n",
            crate::text::plain(&event_type.name),
            self.table,
            columns.join(", "),
            values.join(",\n    "),
            sets.join(",\n       ")
        )
    }

    /// A test of a real stream: its events, and the rows that come of them now.
    pub(super) async fn first_test(
        &self,
        connection: &mut PgConnection,
        folder: &Path,
        events: Vec<LogEvent>,
    ) -> Result<String, Failed> {
        let definition = projection::load(folder).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failed::new(Code::Config, problems.join("\n"))
        })?;
        let mut given = Given::new();
        let mut test = format!(
            "# `projectord test {}` runs this. The events are a real stream's: take out what nobody should read here.\n",
            self.name
        );
        for event in events {
            test.push_str(&self.given(&event));
            let event = GivenEvent {
                stream: LABEL.into(),
                stream_type: Some(event.stream_type),
                event_type: event.event_type,
                data: event.data,
                metadata: Some(event.metadata),
                recorded_at: Some(event.recorded_at),
            };
            given.add(event).map_err(|refusal| Failed::new(Code::Failed, refusal))?;
        }
        let failed = |error: TestError| match error {
            TestError::Postgres(error) => Failed::from(error),
            TestError::Projection(_) => Failed::new(Code::Config, error),
        };
        let mut model = ReadModel::new(connection, &definition, &given).await.map_err(failed)?;
        model.apply_all().await.map_err(failed)?;
        let rows = model.rows(&format!("select * from {}", self.table)).await.map_err(failed)?;
        let rows: Vec<String> = rows.iter().filter_map(Value::as_object).map(row).collect();
        test.push_str(&format!(
            "\n[[expect]]\ntable = {}\nrows = [\n    {},\n]\n",
            text(self.table.trim_matches('"')),
            rows.join(",\n    ")
        ));
        Ok(test)
    }

    fn given(&self, event: &LogEvent) -> String {
        let mut entry = format!(
            "\n[[given]]\nstream = \"{LABEL}\"\nstream_type = {}\ntype = {}\n",
            text(&event.stream_type),
            text(&event.event_type)
        );
        match inline(&event.data) {
            Some(data) => entry.push_str(&format!("data = {data}\n")),
            None => entry.push_str(&format!("data_json = {}\n", text(&event.data.to_string()))),
        }
        if let Some(metadata) =
            inline(&event.metadata).filter(|_| event.metadata != Value::Object(Map::new()))
        {
            entry.push_str(&format!("metadata = {metadata}\n"));
        }
        entry.push_str(&format!("recorded_at = {}\n", event.recorded_at.to_rfc3339()));
        entry
    }
}

/// The file of a type's handler: named like the type, where that makes a name that every shell likes.
fn file_of(event_type: &str, taken: &mut Vec<String>) -> String {
    let is_plain = event_type.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let lower = event_type.to_ascii_lowercase();
    if is_plain && !event_type.starts_with('-') && !taken.contains(&lower) {
        taken.push(lower);
        return format!("{event_type}.sql");
    }
    format!("{}.sql", snake_case(event_type, taken))
}

/// A row as a test has it; a value that TOML cannot write is left out, and with it not compared.
fn row(row: &Map<String, Value>) -> String {
    let cells = row.iter().filter_map(|(column, value)| match value {
        Value::Null => Some(format!("{} = true", quoted_key(&format!("{column} is null")))),
        Value::String(id) if column == "id" && !id.is_empty() => Some(format!("id = \"{LABEL}\"")),
        value => Some(format!("{} = {}", quoted_key(column), inline(value)?)),
    });
    format!("{{ {} }}", cells.collect::<Vec<_>>().join(", "))
}

/// A value on one line of TOML; none where it has a null in it, for which there is no word.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(self::text(text)),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(inline).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Value::Object(fields) if fields.is_empty() => Some("{}".into()),
        Value::Object(fields) => {
            let fields: Option<Vec<String>> = fields
                .iter()
                .map(|(key, value)| Some(format!("{} = {}", quoted_key(key), inline(value)?)))
                .collect();
            Some(format!("{{ {} }}", fields?.join(", ")))
        }
        other => Some(other.to_string()),
    }
}

/// A key of TOML, quoted where it has to be.
fn quoted_key(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_bare { key.to_owned() } else { text(key) }
}

/// A text on one line of TOML.
fn text(text: &str) -> String {
    // As JSON has it, but for the one character that TOML wants escaped and JSON does not.
    Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007f")
}
