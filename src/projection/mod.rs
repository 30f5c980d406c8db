//! A projection as its author wrote it: a folder of SQL files, and the function compiled from them.
//! Nothing here touches a database.
//!
//! ```text
//! projections/orders/
//!   projection.toml     optional: description, on_error, partition, row_stream, [on] event types → files
//!   schema.sql          the read model's tables and indexes
//!   OrderCreated.sql    runs once for each event of that type
//!   batch.sql           or, alone: one statement over all events of a batch
//! projections/_upcasters/
//!   OrderCreated.sql    what old events of that type are read as
//! ```

mod code;
mod compile;
mod folder;
mod manifest;
mod mentions;
mod pattern;
mod problem;
mod sql;
mod statements;
mod tokens;
mod upcaster;
mod upcaster_cases;

pub use code::{Code, HandlerError, Projection};
pub use compile::{Compiled, compile};
pub(crate) use compile::{compile_alone, compile_over, over_nothing, upcast};
pub(crate) use folder::check_name;
pub use folder::{load, load_all};
pub use manifest::{OnError, Partition, RowStream};
pub(crate) use mentions::{Mention, mentions};
pub use pattern::Pattern;
pub use problem::Problem;
pub(crate) use statements::{EVENT, PROBE, Statement, statements};
pub(crate) use upcaster::load_upcasters;
pub use upcaster::{Expression, Upcaster};
pub(crate) use upcaster_cases::{Case, upcaster_cases};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    /// Its handlers, in order of their files' names; of one in Rust, the types that it wants.
    pub handlers: Vec<Handler>,
    /// How events of types that it handles are read, in order of type.
    pub upcasters: Vec<Upcaster>,
    /// What runs instead of the handlers' SQL, where it is written in Rust.
    pub code: Option<Code>,
}

impl TryFrom<Code> for Definition {
    type Error = Problem;

    /// A projection in Rust.
    fn try_from(code: Code) -> Result<Self, Problem> {
        let it = &code.0;
        let problem = |message: String| Problem::new(format!("{} (in Rust)", it.name()), message);
        folder::check_name(it.name()).map_err(problem)?;
        let on: Result<Vec<Pattern>, String> = it.handles().iter().map(|text| Pattern::new(text)).collect();
        let on = on.map_err(problem)?;
        if on.is_empty() {
            return Err(problem("it wants no event type; \"*\" is all of them".into()));
        }
        let revision = Handler { file: "revision".into(), on, sql: it.revision().to_owned() };
        Ok(Self {
            name: it.name().to_owned(),
            folder: PathBuf::new(),
            description: None,
            on_error: it.on_error(),
            partition: None,
            row_stream: None,
            schema_sql: it.schema_sql().to_owned(),
            handlers: vec![revision],
            upcasters: Vec::new(),
            code: Some(code),
        })
    }
}

/// The file that stands in the place of handlers for single events.
const BATCH: &str = "batch.sql";

/// A SQL file that runs for each event of certain types, or for all of a batch at once.
#[derive(Debug, Clone)]
pub struct Handler {
    /// The file's name in the folder.
    pub file: String,
    /// The event types, at least one.
    pub on: Vec<Pattern>,
    /// Its statements.
    pub sql: String,
}

impl Handler {
    /// Whether it is one statement over the relation `batch`, and not what runs for a single `event`.
    pub fn is_batch(&self) -> bool {
        self.file == BATCH
    }
}

impl Definition {
    /// The same, reading old events through the upcasters in `path`, the folder of projections: for one in Rust,
    /// and for one that was loaded alone.
    ///
    /// # Errors
    /// When the upcaster of a type that it handles is wrong.
    pub fn with_upcasters(self, path: &Path) -> Result<Self, Problem> {
        let place = path.join(&self.name);
        upcaster::load(path).0.give_to(self).map_err(|message| Problem::new(place, message))
    }

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

    /// The handler that runs for events of this type.
    pub fn handler_for(&self, event_type: &str) -> Option<&Handler> {
        let all = self.handlers.iter().flat_map(|handler| handler.on.iter().map(move |on| (on, handler)));
        let matching = all.filter(|(on, _)| on.matches(event_type));
        matching.min_by(|(a, _), (b, _)| a.rank().cmp(&b.rank())).map(|(_, handler)| handler)
    }

    /// Changes with everything that rows depend on: `schema.sql`, handlers, which types they are for, and
    /// how old events are read. Rows of one fingerprint are never mixed with another's.
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
        for expression in self.upcasters.iter().flat_map(Upcaster::expressions) {
            add(&expression.file);
            add(&expression.sql);
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
        for expression in self.upcasters.iter().flat_map(Upcaster::expressions) {
            files.insert(expression.file.clone(), digest(&expression.sql));
        }
        files.insert("schema.sql".into(), digest(&self.schema_sql));
        files.insert("[on] in projection.toml".into(), digest(&mapping.join("\n")));
        files
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
