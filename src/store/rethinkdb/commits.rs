//! Reading commits: straight into what they are, and, where one is not a commit, again to name it.

use reql::Command;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::document::{StoredCommit, StoredEvent};
use super::driver::{Pool, QueryError, QueryErrorKind, Row, size};
use super::term::{Term, bind, json, term};

impl Row for StoredCommit {
    fn size(&self) -> usize {
        let event = |event: &StoredEvent| 128 + size(&event.data) + size(&event.metadata);
        512 + self.events.iter().map(event).sum::<usize>()
    }
}

/// Commits that the server sent as one text.
#[derive(Debug)]
pub struct Text {
    /// In no order.
    pub commits: Vec<StoredCommit>,
    /// How long the text was, in bytes.
    pub bytes: usize,
}

/// The text; none where the server found it too long.
struct Within(Option<Text>);

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(Self(None)) };
        let commits = read_text(&text).map_err(D::Error::custom)?;
        Ok(Self(Some(Text { commits, bytes: text.len() })))
    }
}

impl Row for Within {
    fn size(&self) -> usize {
        0
    }
}

fn read_text(text: &str) -> Result<Vec<StoredCommit>, String> {
    match serde_json::from_str::<Vec<StoredCommit>>(text) {
        Ok(commits) => commits.into_iter().map(StoredCommit::checked).collect(),
        Err(error) => {
            let rows: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let named = rows.into_iter().find_map(|row| StoredCommit::read(row).err());
            Err(named.unwrap_or_else(|| error.to_string()))
        }
    }
}

impl Pool {
    /// The commits that `command` reads.
    ///
    /// # Errors
    /// Also when a document is not a commit: the message has its id.
    pub(super) async fn commits(&self, command: Command) -> Result<Vec<StoredCommit>, QueryError> {
        let unread = match self.rows_within::<StoredCommit>(command.clone(), usize::MAX).await {
            Ok(commits) => {
                let commits = commits.unwrap_or_default().into_iter().map(StoredCommit::checked);
                return commits.collect::<Result<_, _>>().map_err(QueryError::wrong);
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

    /// The commits that `command` reads, at most a few thousand; none of them where their text is longer than
    /// `budget`, which is not sent then.
    ///
    /// The server writes them as one text. So it makes them up in one go, and they are built once here, where the
    /// driver would build each document as a value first.
    ///
    /// # Errors
    /// Also when a document is not a commit: the message has its id.
    pub(super) async fn commits_within(
        &self,
        command: Command,
        budget: usize,
    ) -> Result<Option<Text>, QueryError> {
        let text = term(Term::ToJsonString, [term(Term::CoerceTo, [command, json("array")])]);
        let within = bind(96, text, |text| {
            let too_much = term(Term::Gt, [term(Term::Count, [text.clone()]), json(budget)]);
            term(Term::Branch, [too_much, json(Value::Null), text])
        });
        match self.rows_within::<Within>(within, usize::MAX).await {
            Ok(texts) => Ok(texts.and_then(|mut texts| texts.pop()).and_then(|Within(text)| text)),
            Err(error) if error.kind == QueryErrorKind::Unread => Err(QueryError::wrong(error.message)),
            Err(error) => Err(error),
        }
    }
}
