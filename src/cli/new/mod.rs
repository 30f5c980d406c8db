//! `projectord new NAME`: the folder of a new projection, from the events that there are, or a template.

mod guess;
mod scaffold;
mod seen;
mod template;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Code, Failed};
use super::print;
use crate::config::Config;
use crate::control::open_pool;
use crate::projection::{Pattern, check_name};

pub(super) const EXAMPLES: &str = "Examples:
  projectord new turnover                          # a template, without a database
  projectord new orders --from-types 'Order*'      # columns, handlers and a test from the log's events";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection's name, and its read model's: a lower-case letter, then a-z, 0-9 and _.
    name: String,
    /// Propose columns, handlers and a first test from the log's events of these types; * and ? stand for any
    /// text and any character.
    #[arg(long, value_name = "GLOB")]
    from_types: Option<String>,
}

/// A file of the new folder.
struct NewFile {
    path: String,
    text: String,
}

impl NewFile {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

pub(super) async fn run(config: &Config, arguments: Arguments) -> Result<Code, Failed> {
    let name = arguments.name.as_str();
    check_name(name).map_err(|message| Failed::new(Code::Usage, message))?;
    let folder = config.projections.path.join(name);
    if folder.exists() {
        return Err(exists(&folder));
    }
    let draft =
        Draft::begin(&config.projections.path, name).map_err(|error| cannot_write(&folder, &error))?;
    match &arguments.from_types {
        None => draft.write(template::files(name)).map_err(|error| cannot_write(&folder, &error))?,
        Some(glob) => from_log(config, &draft, name, glob).await?,
    }
    let made = draft.finish(&folder)?;
    print::line(format!("made {}: {}", folder.display(), made.join(", ")));
    print::line(format!("next: read it, change it, `projectord check`, `projectord test {name}`"));
    Ok(Code::Done)
}

async fn from_log(config: &Config, draft: &Draft, name: &str, glob: &str) -> Result<(), Failed> {
    let pattern = Pattern::new(glob).map_err(|message| Failed::new(Code::Usage, message))?;
    let pool = open_pool(config).await.map_err(Failed::from).map_err(|failed| Failed {
        message: format!("{}; without --from-types no database is needed", failed.message),
        ..failed
    })?;
    let mut connection = pool.acquire().await?;
    let types = seen::types(&mut connection, &pattern).await?;
    if types.is_empty() {
        return Err(Failed::new(Code::NotFound, format!("no event in the log is of a type like {glob:?}")));
    }
    let table = scaffold::Scaffold::new(&mut connection, name, glob, types).await?;
    let wrong = |error: io::Error| cannot_write(&draft.folder, &error);
    draft.write(table.files()).map_err(wrong)?;
    let events = seen::stream(&mut connection, &pattern).await?;
    let test = table.first_test(&mut connection, &draft.folder, events).await?;
    draft.write(vec![NewFile::new("tests/first.toml", test)]).map_err(wrong)
}

fn exists(folder: &Path) -> Failed {
    Failed::new(Code::Failed, format!("{} is there already; nothing was changed", folder.display()))
}

fn cannot_write(folder: &Path, error: &io::Error) -> Failed {
    Failed::new(Code::Failed, format!("cannot make {}: {error}", folder.display()))
}

/// A folder that no daemon looks into, until all of it is there. Removed when dropped.
struct Draft {
    around: PathBuf,
    folder: PathBuf,
}

impl Draft {
    fn begin(projections: &Path, name: &str) -> io::Result<Self> {
        let around = projections.join(format!(".new-{}", std::process::id()));
        let folder = around.join(name);
        fs::create_dir_all(&folder)?;
        Ok(Self { around, folder })
    }

    fn write(&self, files: Vec<NewFile>) -> io::Result<()> {
        for NewFile { path, text } in files {
            let path = self.folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::write(path, text)?;
        }
        Ok(())
    }

    /// Puts it in its place; the files' names.
    fn finish(self, folder: &Path) -> Result<Vec<String>, Failed> {
        if folder.exists() {
            return Err(exists(folder));
        }
        let wrong = |error: io::Error| cannot_write(folder, &error);
        fs::rename(&self.folder, folder).map_err(wrong)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.push(if entry.path().is_dir() { format!("{name}/first.toml") } else { name });
        }
        names.sort();
        Ok(names)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.around);
    }
}
