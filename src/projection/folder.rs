//! Reading projections from their folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::manifest::{self, Manifest};
use super::{BATCH, Definition, Handler, Pattern, Problem, sql, upcaster};

const SCHEMA: &str = "schema.sql";
const MANIFEST: &str = "projection.toml";
/// Schemas that are not a projection's, and those that begin with `pg_` or `projectord`.
const RESERVED: [&str; 6] = ["public", "information_schema", "ingest", "owner", "projector", "reader"];

/// Every projection below `path`, in order of name, and everything that is wrong with the others.
/// Folders whose names begin with `_` or `.` are left out; `_upcasters` says how old events are read.
///
/// # Errors
/// When `path` itself cannot be read.
pub fn load_all(path: &Path) -> Result<(Vec<Definition>, Vec<Problem>), Problem> {
    let entries = fs::read_dir(path).map_err(|error| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Problem::new(
            &whole,
            format!("cannot read projections: {error}; [projections] path says where they are"),
        )
    })?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !file_name(path).starts_with(['_', '.']))
        .collect();
    folders.sort();
    let (upcasters, mut problems) = upcaster::load(path);
    let mut projections = Vec::new();
    for folder in folders {
        match load(&folder) {
            Ok(projection) => match upcasters.give_to(projection) {
                Ok(projection) => projections.push(projection),
                Err(message) => problems.push(Problem::new(folder, message)),
            },
            Err(found) => problems.extend(found),
        }
    }
    Ok((projections, problems))
}

/// The projection in `folder`, without the upcasters that may stand beside it.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(folder: &Path) -> Result<Definition, Vec<Problem>> {
    let mut problems = Vec::new();
    let name = file_name(folder);
    if let Err(message) = check_name(&name) {
        problems.push(Problem::new(folder, message));
    }
    let manifest = read_manifest(folder, &mut problems);
    let files = sql_files(folder, &mut problems);
    if !files.iter().any(|file| file == SCHEMA) {
        problems.push(Problem::new(folder, "there is no schema.sql, which creates the read model's tables"));
    }
    let mut texts = BTreeMap::new();
    for file in files {
        match read_inside(folder, &file) {
            Ok(text) => drop(texts.insert(file, text)),
            Err(problem) => problems.push(problem),
        }
    }
    let schema_sql = texts.remove(SCHEMA).unwrap_or_default();
    check_statements(&folder.join(SCHEMA), &schema_sql, false, &mut problems);
    let handlers = handlers(folder, &manifest, &texts, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Definition {
        name,
        folder: folder.to_owned(),
        description: manifest.description,
        on_error: manifest.on_error,
        partition: manifest.partition,
        row_stream: manifest.row_stream,
        schema_sql,
        handlers,
        code: None,
        upcasters: Vec::new(),
    })
}

/// Whether a projection may have this name, and why not.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let mut chars = name.chars();
    let well_formed = chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= 48;
    if !well_formed {
        return Err(format!(
            "{name:?} cannot name a projection: a lower-case letter, then at most 47 of a-z, 0-9 and _"
        ));
    }
    if RESERVED.contains(&name) || name.starts_with("pg_") || name.starts_with("projectord") {
        return Err(format!("{name:?} is reserved and cannot name a projection"));
    }
    Ok(())
}

fn read_manifest(folder: &Path, problems: &mut Vec<Problem>) -> Manifest {
    let path = folder.join(MANIFEST);
    if !path.exists() {
        return Manifest::default();
    }
    let text = match read_inside(folder, MANIFEST) {
        Ok(text) => text,
        Err(problem) => {
            problems.push(problem);
            return Manifest::default();
        }
    };
    manifest::read(&text).unwrap_or_else(|(line, message)| {
        problems.push(Problem { file: path, line, message });
        Manifest::default()
    })
}

pub(super) fn sql_files(folder: &Path, problems: &mut Vec<Problem>) -> Vec<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(Problem::new(folder, format!("cannot read it: {error}")));
            return Vec::new();
        }
    };
    let mut files: Vec<String> = entries
        .filter_map(|entry| Some(file_name(&entry.ok()?.path())))
        .filter(|name| name.ends_with(".sql") && !name.starts_with('.'))
        .collect();
    files.sort();
    files
}

/// Reads a file of the folder; one that leads out of it, by a link or by `..`, is refused.
pub(super) fn read_inside(folder: &Path, file: &str) -> Result<String, Problem> {
    let path = folder.join(file);
    let problem = |message: String| Problem::new(&path, message);
    let real = path.canonicalize().map_err(|error| problem(format!("cannot read it: {error}")))?;
    let home = folder.canonicalize().map_err(|error| problem(format!("cannot read it: {error}")))?;
    if !real.starts_with(&home) {
        return Err(problem("it lies outside the projection's folder".into()));
    }
    let bytes = fs::read(&real).map_err(|error| problem(format!("cannot read it: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| problem("it is not UTF-8".into()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Which files are for which types: those that `[on]` names, and the others by their own names.
fn handlers(
    folder: &Path,
    manifest: &Manifest,
    texts: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vec<Handler> {
    let mut on: BTreeMap<&str, Vec<Pattern>> = BTreeMap::new();
    for (event_type, file) in &manifest.on {
        let mut problem = |message: String| problems.push(Problem::new(folder.join(MANIFEST), message));
        if file == SCHEMA || !texts.contains_key(file) {
            problem(format!("[on] {event_type:?} names {file:?}, which is no handler in this folder"));
        }
        match Pattern::new(event_type) {
            Ok(pattern) => on.entry(file).or_default().push(pattern),
            Err(message) => problem(format!("[on] {event_type:?}: {message}")),
        }
    }
    let mut handlers = Vec::new();
    for (file, text) in texts {
        let path = folder.join(file);
        let patterns = match on.remove(file.as_str()) {
            Some(patterns) => patterns,
            None if file == BATCH => vec![Pattern::all()],
            None => {
                let event_type = file.strip_suffix(".sql").unwrap_or(file);
                if let Some(other) = manifest.on.get(event_type) {
                    let message = format!("[on] gives the event type {event_type:?} to {other:?} already");
                    problems.push(Problem::new(&path, message));
                }
                match Pattern::new(event_type) {
                    Ok(pattern) => vec![pattern],
                    Err(message) => {
                        problems.push(Problem::new(&path, message));
                        continue;
                    }
                }
            }
        };
        check_statements(&path, text, true, problems);
        if file == BATCH {
            problems.extend(check_batch(&path, text, texts.len()));
        } else if sql::scan(text).statements.is_empty() {
            problems.push(Problem::new(
                &path,
                "it has no statement; write NULL; for a handler that does nothing",
            ));
        }
        handlers.push(Handler { file: file.clone(), on: patterns, sql: text.clone() });
    }
    if handlers.is_empty() && problems.is_empty() {
        problems
            .push(Problem::new(folder, "it has no handler: a file <EventType>.sql runs for each such event"));
    }
    handlers
}

/// `batch.sql` is one statement, and alone.
fn check_batch(path: &Path, text: &str, handlers: usize) -> Option<Problem> {
    if handlers > 1 {
        let message = "it runs for all events of a batch at once, and can have no other handler beside it: \
                       the order between them would be nobody's";
        return Some(Problem::new(path, message));
    }
    let (line, reason) = sql::not_one_statement(text)?;
    let message =
        format!("{reason}; it is one INSERT, UPDATE, DELETE, MERGE or WITH over the relation `batch`");
    Some(Problem::new(path, message).at_line(line))
}

fn check_statements(path: &Path, text: &str, is_handler: bool, problems: &mut Vec<Problem>) {
    let scan = sql::scan(text);
    for statement in &scan.statements {
        if let Some(reason) = sql::refusal(statement, is_handler) {
            let message = format!("{} is not allowed here: {reason}", statement.words.join(" "));
            problems.push(Problem::new(path, message).at_line(statement.line));
        }
    }
    if let Some(line) = scan.unclosed {
        problems.push(Problem::new(path, "a quote or comment that begins here is not closed").at_line(line));
    }
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        problems.push(Problem::new(path, "it contains a NUL").at_line(line));
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
