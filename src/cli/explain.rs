//! `projectord explain`: the events that made a row.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, FromRow, PgPool, Postgres};
use uuid::Uuid;

use super::exit::{Code, Failed};
use super::print::{self, Colour, paint};
use crate::config::Config;
use crate::control::open_pool;
use crate::postgres::sqlstate;
use crate::projection::{Definition, RowStream, load_all};

pub(super) const EXAMPLES: &str =
    "The projection says which column holds a row's stream, in projection.toml: row_stream = \"orders.id\"

Examples:
  projectord explain orders 6763e85f-f8d5-5bee-ad04-4ed1d6d49798
  projectord explain status_history 6763e85f-f8d5-5bee-ad04-4ed1d6d49798 3 --json";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection.
    name: String,
    /// The values of the table's primary key, in order.
    #[arg(required = true, allow_negative_numbers = true)]
    key: Vec<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// A row, and what it was made of.
#[derive(Debug, Serialize)]
struct Explained {
    projection: String,
    table: String,
    row: Map<String, Value>,
    stream_id: Uuid,
    checkpoint: i64,
    events: Vec<Told>,
}

/// The table that holds the row, in SQL.
#[derive(Debug, FromRow)]
struct Table {
    #[sqlx(rename = "from_table")]
    from: String,
    column_name: Option<String>,
    /// Of the primary key, in order.
    columns: Vec<String>,
    conditions: Vec<String>,
}

/// An event of the row's stream, as the log has it.
#[derive(Debug, Serialize, FromRow)]
struct Told {
    position: i64,
    version: i64,
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    event_type: String,
    recorded_at: DateTime<Utc>,
    #[sqlx(skip)]
    handler: String,
    /// Why it is not in the row: `parked`, or `skipped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
    data: Value,
    metadata: Value,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let projection = definition(config, &arguments.name)?;
    let Some(row_stream) = &projection.row_stream else {
        return Err(Failed::new(
            Code::Config,
            format!(
                "{} does not say which column holds the stream of a row: in {}, before [on], \
                 row_stream = \"table.column\"",
                projection.name,
                projection.folder.join("projection.toml").display()
            ),
        ));
    };
    let pool = open_pool(config).await?;
    let (row, stream_id) = row(&pool, &projection.name, row_stream, &arguments.key).await?;
    let (checkpoint, mut events) = events(&pool, &projection, stream_id).await?;
    for event in &mut events {
        let handler = projection.handler_for(&event.event_type);
        event.handler = handler.map(|it| it.file.clone()).unwrap_or_default();
    }
    let (projection, table) = (projection.name, row_stream.table.clone());
    show(&Explained { projection, table, row, stream_id, checkpoint, events }, arguments.json)
}

fn definition(config: &Config, name: &str) -> Result<Definition, Failed> {
    let path = &config.projections.path;
    let (projections, problems) = load_all(path).map_err(|problem| Failed::new(Code::Config, problem))?;
    if let Some(problem) = problems.iter().find(|it| it.projection(path).as_deref() == Some(name)) {
        return Err(Failed::new(Code::Config, problem));
    }
    projections
        .into_iter()
        .find(|it| it.name == name)
        .ok_or_else(|| Failed::new(Code::NotFound, format!("no projection {name:?} in {}", path.display())))
}

/// The row of the live read model with this key, and its stream.
async fn row(
    pool: &PgPool,
    name: &str,
    row_stream: &RowStream,
    key: &[String],
) -> Result<(Map<String, Value>, Uuid), Failed> {
    let RowStream { table, column } = row_stream;
    let shown = format!("{name}.{table}");
    let found: Option<Table> = sqlx::query_as(
        "select format('%I.%I', n.nspname, c.relname) as from_table,
                (select quote_ident(a.attname) from pg_catalog.pg_attribute a
                  where a.attrelid = c.oid and a.attname = $3 and a.attnum > 0 and not a.attisdropped) as column_name,
                coalesce(array_agg(a.attname::text order by k.nth) filter (where k.nth is not null), '{}') as columns,
                coalesce(array_agg(format('%I = cast($%s as %s)', a.attname, k.nth, format_type(a.atttypid, a.atttypmod))
                                   order by k.nth) filter (where k.nth is not null), '{}') as conditions
           from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
           left join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, nth) on true
           left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
          where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')
          group by c.oid, n.nspname, c.relname",
    )
    .bind(name)
    .bind(table)
    .bind(column)
    .fetch_optional(pool)
    .await?;
    let Some(Table { from, column_name, columns, conditions }) = found else {
        return Err(Failed::new(Code::NotFound, format!("there is no table {shown}; has {name} run yet?")));
    };
    let Some(column_name) = column_name else {
        return Err(Failed::new(
            Code::NotFound,
            format!("{shown} has no column {column}, which row_stream names"),
        ));
    };
    if columns.is_empty() {
        return Err(Failed::new(
            Code::NotFound,
            format!("{shown} has no primary key, by which to find a row"),
        ));
    }
    if columns.len() != key.len() {
        return Err(Failed::new(
            Code::Usage,
            format!(
                "the primary key of {shown} is ({}): {} wanted, {} given",
                columns.join(", "),
                columns.len(),
                key.len()
            ),
        ));
    }
    // As text, which PostgreSQL reads as the column's type.
    let conditions: Vec<String> = conditions.iter().map(|it| it.replace(" as ", "::text as ")).collect();
    let sql = format!(
        "select to_jsonb(t), cast(t.{column_name} as text) from {from} t where {}",
        conditions.join(" and ")
    );
    let mut query: QueryAs<'_, Postgres, (Value, Option<String>), PgArguments> =
        sqlx::query_as(AssertSqlSafe(sql));
    for value in key {
        query = query.bind(value);
    }
    let row = match query.fetch_optional(pool).await {
        // It does not read as the column's type.
        Err(error) if sqlstate(&error).is_some_and(|it| it.starts_with("22")) => {
            let error = Failed::from(error);
            return Err(Failed::new(Code::Usage, format!("no key of {shown}: {}", error.message)));
        }
        row => row?,
    };
    let key: Vec<String> =
        columns.iter().zip(key).map(|(column, value)| format!("{column} = {value}")).collect();
    let key = key.join(", ");
    let Some((Value::Object(row), stream)) = row else {
        return Err(Failed::new(Code::NotFound, format!("{shown} has no row with {key}")));
    };
    match stream.as_deref().map(str::parse) {
        Some(Ok(stream)) => Ok((row, stream)),
        Some(Err(_)) => {
            Err(Failed::new(Code::Config, format!("{shown}.{column} of the row is no stream's id, a uuid")))
        }
        None => Err(Failed::new(Code::NotFound, format!("{shown}.{column} of the row with {key} is null"))),
    }
}

/// The events of a stream that a projection handles, up to its checkpoint, and the checkpoint.
async fn events(pool: &PgPool, projection: &Definition, stream: Uuid) -> Result<(i64, Vec<Told>), Failed> {
    let (checkpoint,): (i64,) = sqlx::query_as(
        "select g.checkpoint from projectord.projections p
           join projectord.generations g on g.projection = p.name and g.generation = p.generation
          where p.name = $1",
    )
    .bind(&projection.name)
    .fetch_optional(pool)
    .await?
    .ok_or_else(|| Failed::new(Code::NotFound, format!("{} has not run yet", projection.name)))?;
    let events = sqlx::query_as(
        "select e.position, e.version, e.type, e.recorded_at, e.data, e.metadata,
                case when exists (select from projectord.skipped s
                                   where s.projection = $1 and s.position = e.position) then 'skipped'
                     when exists (select from projectord.parked k
                                    join projectord.projections p on p.name = k.projection and p.generation = k.generation
                                   where k.projection = $1 and k.position = e.position) then 'parked'
                end as left_out
           from projectord.events e
          where e.stream_id = $2 and e.position <= $3 and e.type like any($4)
          order by e.version",
    )
    .bind(&projection.name)
    .bind(stream)
    .bind(checkpoint)
    .bind(projection.handles())
    .fetch_all(pool)
    .await?;
    Ok((checkpoint, events))
}

fn show(explained: &Explained, json: bool) -> Result<Code, Failed> {
    let Explained { projection, table, row, stream_id, checkpoint, events } = explained;
    if json {
        print::line(serde_json::to_string(explained).map_err(|error| Failed::new(Code::Failed, error))?);
        return Ok(Code::Done);
    }
    print::line(paint(Colour::Bold, format!("{projection}.{table}")));
    let width = row.keys().map(|column| column.chars().count()).max().unwrap_or(0);
    for (column, value) in row {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        print::line(format!("  {column:<width$}  {}", print::plain(value)));
    }
    let count = events.len();
    let what = if count == 1 { "event" } else { "events" };
    print::line(format!("{count} {what} of stream {stream_id}, up to position {checkpoint}"));
    for it in events {
        let Told { position, version, event_type, recorded_at, handler, left_out, data, .. } = it;
        let at = recorded_at.format("%F %T%.3fZ");
        let event_type = paint(Colour::Bold, print::plain(event_type));
        let left_out = left_out.as_ref().map(|why| format!("  ({why})")).unwrap_or_default();
        let data = print::plain(data);
        print::line(format!("{position:>8} {version:>4}  {event_type}  {at}  {handler}{left_out}  {data}"));
    }
    Ok(Code::Done)
}
