//! `projectord setup`

use super::exit::{Code, Failed};
use super::print;
use crate::config::Config;
use crate::control::{Store, open_pool};
use crate::postgres::migrate;
use crate::store::rethinkdb::QueryErrorKind;

pub(super) async fn run(config: &Config) -> Result<Code, Failed> {
    migrate(&open_pool(config).await?).await?;
    print::line(format!("PostgreSQL: schema projectord is ready at {}", config.postgres.url));
    if let Store::Rethink(store) = Store::open(config)? {
        let id = store.setup().await.map_err(|error| {
            let away = matches!(error.kind, QueryErrorKind::Away | QueryErrorKind::Denied);
            Failed::new(if away { Code::Unavailable } else { Code::Failed }, error)
        })?;
        print::line(format!("RethinkDB: tables aggregates and events are ready; the store is {id}"));
    }
    Ok(Code::Done)
}
