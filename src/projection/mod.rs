//! A projection as its author wrote it: a folder of SQL files, and the function compiled from them.
//! Nothing here touches a database.
//!
//! ```text
//! projections/orders/
//!   projection.toml     optional: description, on_error, partition, row_stream, [on] event types → files
//!   schema.sql          the read model's tables and indexes
//!   OrderCreated.sql    runs once for each event of that type
//! ```

mod compile;
mod folder;
mod manifest;
mod pattern;
mod problem;
mod sql;

pub use compile::{Compiled, compile};
pub(crate) use compile::{compile_alone, compile_over};
pub(crate) use folder::check_name;
pub use folder::{load, load_all};
pub use manifest::{OnError, Partition, RowStream};
pub use pattern::Pattern;
pub use problem::Problem;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// A projection, read from its folder and found to be well-formed.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its name: the folder's, and the schema's that readers use.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// What its author says it is for.
    pub description: Option<String>,
    /// What to do when a handler fails.
    pub on_error: OnError,
    /// What its rows do not cross, where its author says so.
    pub partition: Option<Partition>,
    /// Where the stream of a row is to be found.
    pub row_stream: Option<RowStream>,
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

impl Definition {
    /// Whether nothing that a projector goes by is different.
    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
            && self.on_error == other.on_error
            && self.partition == other.partition
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
        hex(hash)
    }

    /// A digest of each file that rows depend on, by name; of `projection.toml` only the mapping.
    pub fn files(&self) -> BTreeMap<String, String> {
        let digest = |text: &str| hex(Sha256::new().chain_update(text));
        let mapping: Vec<String> = self
            .handlers
            .iter()
            .flat_map(|handler| handler.on.iter().map(|on| format!("{on:?} {}", handler.file)))
            .collect();
        let mut files: BTreeMap<String, String> =
            self.handlers.iter().map(|handler| (handler.file.clone(), digest(&handler.sql))).collect();
        files.insert("schema.sql".into(), digest(&self.schema_sql));
        files.insert("[on] in projection.toml".into(), digest(&mapping.join("\n")));
        files
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
