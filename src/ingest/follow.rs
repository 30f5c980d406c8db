//! Following the feed: what is announced is read while what was read before it is added, in the order in which it was
//! announced.

use tokio::sync::mpsc;

use super::checks::Question;
use super::error::IngestError;
use super::run::Ingest;
use crate::store::rethinkdb::{CommitKey, Feed, QueryError, StoreId, StoredCommit};

/// What is to be done to the log, in its turn.
enum Work {
    /// Commits that were announced: those of them that are durable are here.
    Add { announced: Vec<CommitKey>, commits: Vec<StoredCommit> },
    /// What comparing found missing.
    Repair(Question),
}

impl Ingest {
    /// Follows the feed, and adds what comparing found missing.
    pub(super) async fn hear(
        &self,
        store: StoreId,
        feed: &mut Feed,
        missing: &mut mpsc::Receiver<Question>,
    ) -> Result<(), IngestError> {
        let (turns, work) = mpsc::channel(1);
        tokio::try_join!(self.keep_reading(feed, missing, turns), self.keep_adding(store, work)).map(drop)
    }

    /// Reads what is announced, until it is told to stop.
    async fn keep_reading(
        &self,
        feed: &mut Feed,
        missing: &mut mpsc::Receiver<Question>,
        turns: mpsc::Sender<Work>,
    ) -> Result<(), IngestError> {
        let lost = |error: QueryError| IngestError::FeedLost(error.message);
        let mut shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                Some(question) = missing.recv() => {
                    // What is missing when everything announced is in the log was not announced.
                    loop {
                        let by_now = feed.by_now().map_err(lost)?;
                        self.read_announced(&by_now.commits, &turns).await?;
                        if by_now.all {
                            break;
                        }
                        if shutdown.is_requested() {
                            return Ok(());
                        }
                    }
                    let _ = turns.send(Work::Repair(question)).await;
                }
                heard = feed.heard() => self.read_announced(&heard.map_err(lost)?, &turns).await?,
            }
        }
    }

    /// Reads what was announced and is durable. As a rule each commit goes on where the log has its stream, and nobody
    /// needs to be asked where that is.
    async fn read_announced(
        &self,
        mut announced: &[CommitKey],
        turns: &mpsc::Sender<Work>,
    ) -> Result<(), IngestError> {
        while !announced.is_empty() {
            let places: Vec<_> = announced.iter().map(|key| (key.stream, key.first)).collect();
            let (asked, commits) = self.read_some(&places).await?;
            let (these, others) = announced.split_at(asked);
            // Whoever adds ends only with an error, and this with it.
            let _ = turns.send(Work::Add { announced: these.to_vec(), commits }).await;
            announced = others;
        }
        Ok(())
    }

    /// Adds what was read, and what is missing before it.
    async fn keep_adding(&self, store: StoreId, mut work: mpsc::Receiver<Work>) -> Result<(), IngestError> {
        while let Some(work) = work.recv().await {
            match work {
                Work::Add { announced, commits } => {
                    let complete = commits.len() == announced.len();
                    let events: usize = commits.iter().map(|commit| commit.events.len()).sum();
                    let added = self.add_durable(store, commits).await?;
                    if !complete || added < events as u64 {
                        self.catch_up(store, &announced).await?;
                    }
                }
                Work::Repair(Question { missing, answer }) => {
                    self.repair(store, missing).await?;
                    let _ = answer.send(());
                }
            }
        }
        Ok(())
    }
}
