//! Answers that go on: events as they come, and the status each second, as server-sent events.
//!
//! All hear the one bell of this process, and each reads after what it has sent. While a peer takes nothing, nothing
//! is read for it: it holds one page, and no connection to the database.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde::Deserialize;
use tokio::time::sleep;
use uuid::Uuid;

use super::asked::{Asked, type_like};
use super::room::{Place, Room};
use crate::event::Position;
use crate::http::{Problem, Shared};
use crate::log::{Filter, From, Log, LogEvent};
use crate::postgres::describe;
use crate::projector::Bell;
use crate::shutdown::Shutdown;

/// How many events are read at once.
const PAGE: u32 = 100;
/// How often to look without having heard the bell.
const PATIENCE: Duration = Duration::from_secs(2);
/// The least time between two looks: what comes meanwhile is one look.
const REST: Duration = Duration::from_millis(20);
/// How long to wait where PostgreSQL does not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a status is sent.
const BEAT: Duration = Duration::from_secs(1);
/// How often something is sent where there is nothing to send.
const ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    after: Option<u64>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    stream: Option<Uuid>,
}

/// Events after `Last-Event-ID`, or `after`; or those that are appended from now on.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Extension(room): Extension<Room>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = room.for_stream()?;
    let filter = Filter { type_like: type_like(which.event_type.as_deref())?, stream: which.stream };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let follower = Follower {
        log: Log::new(shared.pool.clone()),
        filter,
        after: last.or(which.after).map(Position),
        read: VecDeque::new(),
        bell: shared.bell.clone(),
        shutdown: shared.shutdown.clone(),
        _place: place,
    };
    Ok(going_on(unfold(follower, async |mut follower| Some((Ok(follower.next().await?), follower)))))
}

/// The status at once, and then each second.
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    Extension(room): Extension<Room>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = room.for_stream()?;
    let first = (shared, place, true);
    Ok(going_on(unfold(first, async |(shared, place, is_first)| {
        let mut shutdown = shared.shutdown.clone();
        if !is_first && shutdown.within(BEAT).await || shutdown.is_requested() {
            return None;
        }
        let event = match shared.status.read().await {
            Ok(status) => Event::default().event("status").json_data(&*status).ok()?,
            Err(error) => problem(&error),
        };
        Some((Ok(event), (shared, place, false)))
    })))
}

fn going_on<S: Stream<Item = Result<Event, Infallible>> + Send + 'static>(
    stream: S,
) -> Sse<axum::response::sse::KeepAliveStream<S>> {
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE))
}

/// Somebody who follows the log.
struct Follower {
    log: Log,
    filter: Filter,
    /// What was read up to; none before the first look.
    after: Option<Position>,
    /// What was read, and is not sent yet.
    read: VecDeque<LogEvent>,
    bell: Bell,
    shutdown: Shutdown,
    _place: Place,
}

impl Follower {
    /// The next event; none when the daemon ends.
    async fn next(&mut self) -> Option<Event> {
        while self.read.is_empty() {
            let mut shutdown = self.shutdown.clone();
            tokio::select! {
                () = shutdown.requested() => return None,
                read = self.look() => match read {
                    Ok(read) => self.read = read.into(),
                    Err(error) => return Some(problem(&describe(&error))),
                },
            }
        }
        let event = self.read.pop_front()?;
        Event::default().event("event").id(event.position.to_string()).json_data(event).ok()
    }

    /// Reads on, or waits for the bell; or waits where nothing can be read.
    async fn look(&mut self) -> Result<Vec<LogEvent>, sqlx::Error> {
        let read = self.read_on().await;
        match &read {
            Ok(events) if events.is_empty() => sleep(REST).await,
            Ok(_) => {}
            Err(_) => sleep(AGAIN).await,
        }
        read
    }

    async fn read_on(&mut self) -> Result<Vec<LogEvent>, sqlx::Error> {
        let after = match self.after {
            Some(after) => after,
            None => *self.after.insert(self.log.head().await?),
        };
        let found = self.log.browse(after, PAGE, &self.filter, From::Oldest).await?;
        self.after = Some(found.read_to);
        if found.events.is_empty() && found.read_to >= found.head {
            self.bell.heard(PATIENCE).await;
        }
        Ok(found.events)
    }
}

/// Something is in the way, and it is tried again.
fn problem(detail: &str) -> Event {
    let event = Event::default().event("problem");
    let data = serde_json::json!({"detail": detail});
    event.json_data(data).unwrap_or_default()
}
