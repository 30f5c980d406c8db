//! What every backend does alike: refuse, try, retry with the same commit id, give up at the deadline.

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout_at};

use super::{AppendError, Appended, EventStore, EventStream, ExpectedVersion, LoadError};
use crate::backoff::Backoff;
use crate::event::{Commit, CommitId, Limits, Refusal, StreamId, Version};
use crate::sabotage::{Bug, has};

/// How an embedded store behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How large a commit may be.
    pub limits: Limits,
    /// How long an append or a load goes on trying. 10 s unless set.
    pub deadline: Duration,
    /// The most connections held at once. 16 unless set.
    pub connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limits: Limits::default(), deadline: Duration::from_secs(10), connections: 16 }
    }
}

/// What trying to append at one place found.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The commit stands there now.
    Appended,
    /// It stood there already, from an earlier try.
    Repeated,
    /// The stream is elsewhere.
    Occupied { actual: Version },
    /// The stream holds another type of aggregate.
    OtherType { actual: String },
}

/// What a backend's operation met.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether trying again can help.
    pub(super) retry: bool,
}

/// What a backend must know to be a store.
#[async_trait]
pub(super) trait Backend: Send + Sync {
    /// Limits and deadline.
    fn settings(&self) -> &Settings;

    /// Appends `commit` after version `at`, unless something else stands there.
    ///
    /// Must be safe to repeat: the same commit id at the same place is [`Outcome::Repeated`].
    async fn try_append(&self, stream: StreamId, at: Version, commit: &Commit) -> Result<Outcome, Failure>;

    /// The stream's version; zero where it has no events.
    async fn head(&self, stream: StreamId) -> Result<Version, Failure>;

    /// Its events from `from` on, all or the first `most`. `Err` inside `Ok` is final.
    async fn try_load(
        &self,
        stream: StreamId,
        from: Version,
        most: Option<NonZeroU32>,
    ) -> Result<Result<EventStream, LoadError>, Failure>;
}

#[async_trait]
impl<B: Backend> EventStore for B {
    async fn append_to_stream(
        &self,
        stream: StreamId,
        expected: ExpectedVersion,
        commit: Commit,
    ) -> Result<Appended, AppendError> {
        append(self, stream, expected, commit).await
    }

    async fn load_stream(&self, stream: StreamId, from: Version) -> Result<EventStream, LoadError> {
        load(self, stream, from, None).await
    }

    async fn load_page(
        &self,
        stream: StreamId,
        from: Version,
        most: NonZeroU32,
    ) -> Result<EventStream, LoadError> {
        load(self, stream, from, Some(most)).await
    }
}

async fn load(
    backend: &dyn Backend,
    stream: StreamId,
    from: Version,
    most: Option<NonZeroU32>,
) -> Result<EventStream, LoadError> {
    let mut tries = Tries::new(backend.settings().deadline);
    let loaded = tries.until_ok(|| backend.try_load(stream, from, most)).await;
    loaded.map_err(|reason| LoadError::Unavailable { stream, reason })?
}

async fn append(
    backend: &dyn Backend,
    stream: StreamId,
    expected: ExpectedVersion,
    commit: Commit,
) -> Result<Appended, AppendError> {
    let settings = backend.settings();
    let commit = commit.prepare(stream, &settings.limits)?;
    let mut tries = Tries::new(settings.deadline);
    let unavailable = |tries: &Tries, reason| AppendError::Unavailable {
        stream,
        commit: commit.id,
        tries: tries.count,
        reason,
    };
    let mut at = match expected {
        ExpectedVersion::NoStream => Version::ZERO,
        ExpectedVersion::Exact(version) => version,
        ExpectedVersion::Any => {
            tries.until_ok(|| backend.head(stream)).await.map_err(|reason| unavailable(&tries, reason))?
        }
    };
    let mut tried = false;
    loop {
        let outcome = tries
            .until_ok(|| {
                let other = std::mem::replace(&mut tried, true) && has(Bug::NewCommitId);
                let other = other.then(|| commit.clone().with_id(CommitId::random()));
                let commit = &commit;
                async move { backend.try_append(stream, at, other.as_ref().unwrap_or(commit)).await }
            })
            .await
            .map_err(|reason| unavailable(&tries, reason))?;
        match outcome {
            Outcome::Appended | Outcome::Repeated => {
                let repeated = matches!(outcome, Outcome::Repeated);
                return Ok(Appended { first: at.next(), version: at.plus(commit.len()), repeated });
            }
            Outcome::Occupied { actual } if expected == ExpectedVersion::Any => at = actual,
            Outcome::Occupied { actual } => {
                return Err(AppendError::Conflict { stream, expected, actual });
            }
            Outcome::OtherType { actual } => {
                let reason = format!("the stream is of type {actual:?}, not {:?}", commit.stream_type);
                return Err(Refusal { stream, place: String::new(), reason, too_large: false }.into());
            }
        }
    }
}

/// Tries of one call, under one deadline.
struct Tries {
    deadline: Instant,
    backoff: Backoff,
    count: u32,
}

impl Tries {
    fn new(deadline: Duration) -> Self {
        let backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        Self { deadline: Instant::now() + deadline, backoff, count: 0 }
    }

    /// The first success, or what the last failure said.
    async fn until_ok<T, F>(&mut self, mut attempt: impl FnMut() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut last = String::from("no answer before the deadline");
        loop {
            self.count += 1;
            match timeout_at(self.deadline, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) if failure.retry => last = failure.reason,
                Ok(Err(failure)) => return Err(failure.reason),
                Err(_) => return Err(last),
            }
            let wait = self.backoff.next_wait();
            if Instant::now() + wait >= self.deadline {
                return Err(last);
            }
            sleep(wait).await;
        }
    }
}
