//! Events on their way into the log.

use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::types::Json;
use uuid::Uuid;

use crate::event::Event;

/// Events of a store that are added together, written out as PostgreSQL takes them: that is done once, and before it
/// is their turn.
pub struct Batch {
    pub(super) events: usize,
    pub(super) arguments: Result<PgArguments, BoxDynError>,
}

impl Batch {
    /// `events` of the store `store`. Many take some milliseconds.
    pub fn new(store: Uuid, events: &[Event]) -> Self {
        Self { events: events.len(), arguments: arguments(store, events) }
    }
}

/// What `projectord.ingest` takes.
fn arguments(store: Uuid, events: &[Event]) -> Result<PgArguments, BoxDynError> {
    fn column<'a, T>(events: &'a [Event], of: impl Fn(&'a Event) -> T) -> Vec<T> {
        events.iter().map(of).collect()
    }
    let mut arguments = PgArguments::default();
    arguments.add(store)?;
    arguments.add(column(events, |event| event.stream_id.0))?;
    arguments.add(column(events, |event| event.stream_type.as_str()))?;
    arguments.add(column(events, |event| event.version.to_sql()))?;
    arguments.add(column(events, |event| event.event_type.as_str()))?;
    arguments.add(column(events, |event| Json(&event.data)))?;
    arguments.add(column(events, |event| Json(&event.metadata)))?;
    arguments.add(column(events, |event| event.commit_id.0))?;
    arguments.add(column(events, |event| event.recorded_at))?;
    Ok(arguments)
}
