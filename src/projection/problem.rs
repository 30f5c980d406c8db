//! What is wrong with a file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Something wrong with a projection's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or folder.
    pub file: PathBuf,
    /// The line in it, from 1, where that is known.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, message: message.into() }
    }

    /// The name of the projection that it is about, below `projections`; none of what several share.
    pub fn projection(&self, projections: &Path) -> Option<String> {
        let inside = self.file.strip_prefix(projections).ok()?;
        let name = inside.iter().next()?.to_string_lossy();
        (!name.starts_with('_')).then(|| name.into_owned())
    }

    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        // One line; PostgreSQL may quote more.
        write!(f, ": {}", self.message.replace('\n', " "))
    }
}
