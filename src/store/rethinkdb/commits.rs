//! Reading commits: straight into what they are, and, where one is not a commit, again to name it.

use reql::Command;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::document::StoredCommit;
use super::driver::{Pool, QueryError, QueryErrorKind};
use super::term::{Term, bind, json, term};

/// Commits that the server sent as one text.
#[derive(Debug)]
pub struct Text {
    /// In no order.
    pub commits: Vec<StoredCommit>,
    /// How long the text was, in bytes.
    pub bytes: usize,
}

/// What the server sent: the text, or nothing where it found that too long. Or which document is not a commit.
struct Sent(Result<Option<Text>, String>);

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<String>::deserialize(deserializer)?.map(|text| Text::read(&text)).transpose()))
    }
}

impl Text {
    fn read(text: &str) -> Result<Self, String> {
        let commits = match serde_json::from_str::<Vec<StoredCommit>>(text) {
            Ok(commits) => commits.into_iter().map(StoredCommit::checked).collect::<Result<_, _>>()?,
            Err(error) => {
                return Err(serde_json::from_str(text).ok().and_then(no_commit).unwrap_or(error.to_string()));
            }
        };
        Ok(Self { commits, bytes: text.len() })
    }
}

/// Names the first document that is not a commit.
fn no_commit(documents: Vec<Value>) -> Option<String> {
    documents.into_iter().find_map(|document| StoredCommit::read(document).err())
}

impl Pool {
    /// The commits that `command` reads.
    ///
    /// # Errors
    /// Also when a document is not a commit: the message has its id.
    pub(super) async fn commits(&self, command: Command) -> Result<Vec<StoredCommit>, QueryError> {
        match self.rows_as::<StoredCommit>(command.clone()).await {
            Ok(commits) => {
                let commits = commits.into_iter().map(StoredCommit::checked);
                commits.collect::<Result<_, _>>().map_err(QueryError::wrong)
            }
            Err(unread) if unread.kind == QueryErrorKind::Unread => {
                Err(no_commit(self.rows(command).await?).map_or(unread, QueryError::wrong))
            }
            Err(error) => Err(error),
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
        match self.rows_as::<Sent>(within).await?.pop() {
            Some(Sent(text)) => text.map_err(QueryError::wrong),
            None => Ok(None),
        }
    }
}
