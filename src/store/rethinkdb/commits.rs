//! Reading commits: straight into what they are, and, where one is not a commit, again to name it.

use reql::Command;
use serde_json::Value;

use super::document::{StoredCommit, StoredEvent};
use super::driver::{Pool, QueryError, QueryErrorKind, Row, size};

impl Row for StoredCommit {
    fn size(&self) -> usize {
        let event = |event: &StoredEvent| 128 + size(&event.data) + size(&event.metadata);
        512 + self.events.iter().map(event).sum::<usize>()
    }
}

impl Pool {
    /// The commits that `command` reads, or none of them where they are over about `budget` bytes.
    ///
    /// # Errors
    /// Also when a document is not a commit: the message has its id.
    pub(super) async fn commits_within(
        &self,
        command: Command,
        budget: usize,
    ) -> Result<Option<Vec<StoredCommit>>, QueryError> {
        let read = self.rows_within::<StoredCommit>(command.clone(), budget).await;
        let unread = match read {
            Ok(commits) => {
                let commits = commits.map(|commits| commits.into_iter().map(StoredCommit::checked).collect());
                return commits.transpose().map_err(QueryError::wrong);
            }
            Err(error) if error.kind == QueryErrorKind::Unread => error,
            Err(error) => return Err(error),
        };
        let rows: Vec<Value> = self.rows_within(command, usize::MAX).await?.unwrap_or_default();
        match rows.into_iter().find_map(|row| StoredCommit::read(row).err()) {
            Some(named) => Err(QueryError::wrong(named)),
            None => Err(unread),
        }
    }
}
