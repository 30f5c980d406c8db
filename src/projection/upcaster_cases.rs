//! `_upcasters/tests/*.toml`: events as they were written once, and what they are to be read as.
//!
//! ```toml
//! [[case]]
//! type = "OrderCreated"
//! data = '{"total": 5}'                              # JSON, or a table of TOML
//! metadata = { schema = 1 }                          # {} unless given
//! expect_data = '{"total": 5, "currency": "EUR"}'
//! expect_metadata = { schema = 2 }                   # not looked at unless given; nor is expect_data
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::Problem;
use super::upcaster::FOLDER;

/// An event, and what it is to be read as.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) event_type: String,
    pub(crate) version: i64,
    pub(crate) data: Value,
    pub(crate) metadata: Value,
    pub(crate) expect_data: Option<Value>,
    pub(crate) expect_metadata: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "type")]
    event_type: String,
    version: Option<i64>,
    data: Json,
    metadata: Option<Json>,
    expect_data: Option<Json>,
    expect_metadata: Option<Json>,
}

/// JSON in a string, or the same as TOML.
#[derive(Deserialize)]
#[serde(try_from = "toml::Value")]
struct Json(Value);

impl TryFrom<toml::Value> for Json {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let json = match &value {
            toml::Value::String(text) => serde_json::from_str(text),
            other => serde_json::to_value(other),
        };
        json.map(Self).map_err(|error| format!("that is no JSON: {error}"))
    }
}

/// The cases beside the projections in `path`, in order of file and line, and what is wrong with the others.
pub(crate) fn upcaster_cases(path: &Path) -> (Vec<Case>, Vec<Problem>) {
    let folder = path.join(FOLDER).join("tests");
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    let Ok(entries) = fs::read_dir(&folder) else { return (cases, problems) };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "toml"));
    files.sort();
    for file in files {
        match read(&file) {
            Ok(found) => cases.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    (cases, problems)
}

fn read(file: &Path) -> Result<Vec<Case>, Problem> {
    let text =
        fs::read_to_string(file).map_err(|error| Problem::new(file, format!("cannot read it: {error}")))?;
    let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let read: File = toml::from_str(&text).map_err(|error| {
        let problem = Problem::new(file, error.message());
        match error.span() {
            Some(span) => problem.at_line(line(span.start)),
            None => problem,
        }
    })?;
    let cases = read.case.into_iter().map(|written| {
        let line = line(written.span().start);
        let it = written.into_inner();
        let empty = || Json(Value::Object(serde_json::Map::new()));
        Case {
            file: file.to_owned(),
            line,
            event_type: it.event_type,
            version: it.version.unwrap_or(1),
            data: it.data.0,
            metadata: it.metadata.unwrap_or_else(empty).0,
            expect_data: it.expect_data.map(|it| it.0),
            expect_metadata: it.expect_metadata.map(|it| it.0),
        }
    });
    Ok(cases.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read_with_their_lines() {
        let folder = std::env::temp_dir().join(format!("projectord-{}", uuid::Uuid::new_v4()));
        let tests = folder.join(FOLDER).join("tests");
        fs::create_dir_all(&tests).unwrap();
        let good = "[[case]]\ntype = \"A\"\ndata = '{\"a\": null}'\n\n[[case]]\ntype = \"B\"\ndata = { b = [1, 2.5] }\nmetadata = '{}'\nexpect_data = {}\n";
        fs::write(tests.join("good.toml"), good).unwrap();
        fs::write(tests.join("bad.toml"), "[[case]]\ntype = \"A\"\ndata = '{'\n").unwrap();
        let (cases, problems) = upcaster_cases(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let read: Vec<(usize, &str, String)> =
            cases.iter().map(|it| (it.line, it.event_type.as_str(), it.data.to_string())).collect();
        assert_eq!(read, [(1, "A", r#"{"a":null}"#.into()), (5, "B", r#"{"b":[1,2.5]}"#.into())]);
        assert_eq!((cases[0].expect_data.is_none(), cases[1].expect_data.is_some()), (true, true));
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].to_string().contains("bad.toml:3: ") && problems[0].message.contains("no JSON"),
            "{}",
            problems[0]
        );
    }
}
