//! Loading: every problem at once, each with the key and where its value came from.

use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Provider};
use thiserror::Error;

use super::{Config, SecretUrl, url_file};
use crate::event::Limits;
use crate::postgres;
use crate::store::rethinkdb::Server;
use crate::text::plain;

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "config.toml";
const PREFIX: &str = "PROJECTORD_";

/// What is wrong with the configuration, all of it.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// The configuration, and where each value came from.
#[derive(Debug)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    sources: Figment,
}

impl Loaded {
    /// Where the value of a key such as `store.url` came from.
    pub fn source(&self, key: &str) -> String {
        let url_file = match key {
            "postgres.url" => &self.config.postgres.url_file,
            "store.url" => &self.config.store.url_file,
            _ => &None,
        };
        match url_file {
            Some(file) => file.display().to_string(),
            None => source(&self.sources, self.file.as_deref(), key),
        }
    }
}

fn source(sources: &Figment, file: Option<&Path>, key: &str) -> String {
    match sources.find_metadata(key) {
        Some(metadata) if metadata.name.contains("environment") => format!("environment, {}", variable(key)),
        Some(_) => file.map_or("default".into(), |file| file.display().to_string()),
        None => "default".into(),
    }
}

/// Loads the configuration: defaults, `file` or `config.toml` where that exists, `PROJECTORD_…`.
///
/// # Errors
/// Every problem at once: what cannot be read, unknown keys, values of the wrong kind or out of range.
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let file = match file {
        Some(file) => Some(file.to_owned()),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()),
    };
    let mut given = Figment::new();
    if let Some(file) = &file {
        match read(file) {
            Ok(text) => given = given.merge(Toml::string(&text)),
            Err(problem) => problems.push(problem),
        }
    }
    // Variables of other kinds: where PostgreSQL's programs are, for one.
    let given = given.merge(Env::prefixed(PREFIX).ignore(&["pg_bin", "config"]).split("__"));
    let values = given.data().map(|profiles| profiles.into_values().next().unwrap_or_default());
    let values = values.unwrap_or_else(|error| {
        problems.extend(error.into_iter().map(|error| explain(file.as_deref(), &error.to_string())));
        Dict::new()
    });

    let mut known = Figment::from(Serialized::defaults(Config::default()));
    for (section, key, value) in flatten(&values) {
        let path = key.as_ref().map_or(section.clone(), |key| format!("{section}.{key}"));
        let one = known.clone().merge(Serialized::default(&path, &value));
        match one.extract::<Config>() {
            Ok(_) => known = one,
            Err(error) => {
                let source = source(&given, file.as_deref(), &path);
                problems.push(format!("{source}: {path}: {}", wrong_value(&path, &section, &error)));
            }
        }
    }
    let mut config: Config = known.extract().unwrap_or_default();
    let mut problem = |key: &str, what: String| {
        problems.push(format!("{}: {key}: {what}", source(&given, file.as_deref(), key)));
    };
    url_file::read(&mut config, &given, &mut problem);
    judge(&config, problem);
    if problems.is_empty() {
        return Ok(Loaded { config, file, sources: given });
    }
    Err(ConfigError(problems.into_iter().map(plain).collect()))
}

fn read(file: &Path) -> Result<String, String> {
    let problem = |what: String| format!("{}: {what}", file.display());
    if file.is_dir() {
        return Err(problem("it is a folder; name the file".into()));
    }
    let bytes = std::fs::read(file).map_err(|error| problem(format!("cannot read it: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| problem("it is not UTF-8".into()))?;
    match text.parse::<toml::Table>() {
        Ok(_) => Ok(text),
        Err(error) => {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            Err(format!("{}:{line}:{column}: {}", file.display(), error.message()))
        }
    }
}

/// `section.key = value` for each; a section that is no table, or is empty, stands alone.
fn flatten(values: &Dict) -> Vec<(String, Option<String>, Value)> {
    values
        .iter()
        .flat_map(|(section, value)| match value.as_dict() {
            Some(keys) if !keys.is_empty() => {
                keys.iter().map(|(key, value)| (section.clone(), Some(key.clone()), value.clone())).collect()
            }
            _ => vec![(section.clone(), None, value.clone())],
        })
        .collect()
}

/// The keys of a section, or the sections.
fn known_keys(section: Option<&str>) -> Vec<String> {
    let all = serde_json::to_value(Config::default()).unwrap_or_default();
    let keys = section.map_or(Some(&all), |section| all.get(section));
    keys.and_then(serde_json::Value::as_object).map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
}

fn wrong_value(path: &str, section: &str, error: &figment::Error) -> String {
    let sections = known_keys(None);
    let (what, name, known) = match path.split_once('.') {
        Some((_, key)) if sections.iter().any(|known| known == section) => {
            ("key", key, known_keys(Some(section)))
        }
        _ => ("section", section, sections),
    };
    if known.iter().any(|known| known == name) {
        let hint = if is_duration(path) { "; a duration has a unit, as in \"5s\" or \"250ms\"" } else { "" };
        return format!("{}{hint}", in_words(&error.kind));
    }
    let nearest = known.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    match nearest.filter(|nearest| strsim::jaro(nearest, name) > 0.7) {
        Some(nearest) => format!("unknown {what}; did you mean {nearest:?}?"),
        None => format!("unknown {what}; known are {}", known.join(", ")),
    }
}

/// What is wrong with a value. What stands in the wrong place may be a URL with a password.
fn in_words(kind: &Kind) -> String {
    let expected = |expected: &str| match expected {
        "u32" | "usize" => "a whole number, not negative".to_owned(),
        text if text.starts_with("struct ") => "a section of keys".to_owned(),
        other => other.to_owned(),
    };
    match kind {
        Kind::InvalidType(Actual::Str(found), wanted) | Kind::InvalidValue(Actual::Str(found), wanted) => {
            format!("found the text {:?}, expected {}", SecretUrl::from(found.as_str()), expected(wanted))
        }
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => {
            format!("found {found}, expected {}", expected(wanted))
        }
        Kind::UnknownVariant(found, known) => {
            format!(
                "found the text {:?}, expected one of {}",
                SecretUrl::from(found.as_str()),
                known.join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// Whether a key's default is a duration.
fn is_duration(path: &str) -> bool {
    let all = serde_json::to_value(Config::default()).unwrap_or_default();
    let value = path.split('.').try_fold(&all, |value, key| value.get(key));
    value
        .and_then(serde_json::Value::as_str)
        .is_some_and(|text| humantime_serde::re::humantime::parse_duration(text).is_ok())
}

fn explain(file: Option<&Path>, error: &str) -> String {
    format!("{}: {error}", file.map(|file| file.display().to_string()).unwrap_or_default())
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// What each value may be, and what they may be together.
fn judge(config: &Config, mut problem: impl FnMut(&str, String)) {
    let mut check = |key: &str, good: bool, what: String| {
        if !good {
            problem(key, what);
        }
    };
    if let Some(url) = &config.store.url
        && let Err(error) = url.reveal().parse::<Server>()
    {
        let key = if config.store.url_file.is_some() { "store.url_file" } else { "store.url" };
        check(key, false, error.to_string());
    }
    if let Err(error) = config.postgres.url.reveal().parse::<postgres::Options>() {
        let key = if config.postgres.url_file.is_some() { "postgres.url_file" } else { "postgres.url" };
        check(key, false, error.to_string());
    }
    let Limits { max_bytes, max_events } = Limits::HIGHEST;
    let (bytes, events) = (config.store.max_commit_bytes, config.store.max_commit_events);
    check(
        "store.max_commit_bytes",
        (1024..=max_bytes).contains(&bytes),
        format!("{bytes} is not in 1024 to {max_bytes}"),
    );
    check(
        "store.max_commit_events",
        (1..=max_events).contains(&events),
        format!("{events} is not in 1 to {max_events}"),
    );
    check("store.connections", (1..=1000).contains(&config.store.connections), "it must be 1 to 1000".into());
    check(
        "postgres.connections",
        (1..=1000).contains(&config.postgres.connections),
        "it must be 1 to 1000".into(),
    );
    check("projector.max_batch", config.projector.max_batch > 0, "it must be at least 1".into());
    check("rebuild.workers", (1..=64).contains(&config.rebuild.workers), "it must be 1 to 64".into());
    let share = config.rebuild.max_share;
    check("rebuild.max_share", share > 0.0 && share <= 1.0, format!("{share} is not above 0 and at most 1"));
    check("ingest.batch_events", config.ingest.batch_events > 0, "it must be at least 1".into());
    check("ingest.batch_bytes", config.ingest.batch_bytes > 0, "it must be at least 1".into());
    for (key, duration) in [
        ("store.deadline", config.store.deadline),
        ("projector.batch_time", config.projector.batch_time),
        ("projector.batch_timeout", config.projector.batch_timeout),
        ("projector.poll_interval", config.projector.poll_interval),
        ("rebuild.keep_old", config.rebuild.keep_old),
        ("ingest.sweep_interval", config.ingest.sweep_interval),
        ("ingest.sweep_window", config.ingest.sweep_window),
        ("ingest.full_pass_interval", config.ingest.full_pass_interval),
        ("shutdown.drain", config.shutdown.drain),
    ] {
        check(key, !duration.is_zero(), "it must be longer than nothing".into());
    }
    let (time, timeout) = (config.projector.batch_time, config.projector.batch_timeout);
    check(
        "projector.batch_timeout",
        timeout > time,
        format!("{timeout:?} is not longer than batch_time, {time:?}"),
    );
    let (window, interval) = (config.ingest.sweep_window, config.ingest.sweep_interval);
    check(
        "ingest.sweep_window",
        window >= 2 * interval,
        format!("{window:?} is not twice sweep_interval, {interval:?}"),
    );
    for (key, what) in config.http.problems() {
        check(key, false, what);
    }
    if let Some(problem) = config.log.problem() {
        check("log.level", false, problem);
    }
}
