//! A projection as its author wrote it: a folder of SQL files, and the function compiled from them.
//! Nothing here touches a database.
//!
//! ```text
//! projections/orders/
//!   projection.toml     optional: description, on_error, [on] event types → files
//!   schema.sql          the read model's tables and indexes
//!   OrderCreated.sql    runs once for each event of that type
//! ```

mod compile;
mod folder;
mod manifest;
mod pattern;
mod problem;
mod sql;

pub(crate) use compile::compile_alone;
pub use compile::{Compiled, compile};
pub use folder::{load, load_all};
pub use manifest::OnError;
pub use pattern::Pattern;
pub use problem::Problem;

use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// A projection, read from its folder and found to be well-formed.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Its name: the folder's, and the schema's that readers use.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// What its author says it is for.
    pub description: Option<String>,
    /// What to do when a handler fails.
    pub on_error: OnError,
    /// `schema.sql`.
    pub schema_sql: String,
    /// Its handlers, in order of their files' names.
    pub handlers: Vec<Handler>,
}

/// A SQL file that runs for each event of certain types.
#[derive(Debug, Clone)]
pub struct Handler {
    /// The file's name in the folder.
    pub file: String,
    /// The event types, at least one.
    pub on: Vec<Pattern>,
    /// Its statements.
    pub sql: String,
}

impl Projection {
    /// Whether nothing that a projector goes by is different.
    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint() && self.on_error == other.on_error
    }

    /// The event types that have a handler, as patterns of SQL's LIKE.
    pub fn handles(&self) -> Vec<String> {
        self.handlers.iter().flat_map(|handler| &handler.on).map(Pattern::to_like).collect()
    }

    /// Changes with everything that rows depend on: `schema.sql`, handlers, and which types they are
    /// for. Rows of one fingerprint are never mixed with another's.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        add("1");
        add(&self.schema_sql);
        for handler in &self.handlers {
            add(&handler.file);
            add(&handler.sql);
            handler.on.iter().for_each(|pattern| add(pattern.as_str()));
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
