//! Configuration: every mistake is one line that names its place, and no line shows a password.

use std::path::Path;
use std::process::{Command, Output};

use libtest_mimic::Trial;
use projectord::config::{Config, load};
use tempfile::TempDir;

use crate::support::{text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("configuration::the_shipped_file_equals_the_defaults", shipped_file_equals_defaults),
        trial("configuration::the_shipped_file_lists_every_key", shipped_file_lists_every_key),
        trial("configuration::a_file_that_cannot_be_read_is_named", unreadable_files),
        trial("configuration::a_mistake_is_one_line_with_file_and_key", mistakes),
        trial("configuration::a_mistake_in_a_variable_names_the_variable", mistakes_in_variables),
        trial("configuration::all_problems_are_said_at_once", all_at_once),
        trial("configuration::every_verb_refuses_a_wrong_configuration", every_verb_refuses),
        trial("configuration::a_variable_wins_over_the_file_and_the_file_over_the_default", precedence),
        trial("configuration::a_file_in_this_folder_is_found_and_none_is_needed", found_or_not_needed),
        trial("configuration::a_url_may_stand_in_a_file_of_its_own", url_files),
        trial("configuration::no_password_is_ever_printed", no_password),
    ]
}

const SECRET: &str = "hunter2";

/// A folder with a `config.toml`.
fn folder_with(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    folder
}

/// The binary in this folder, with these variables and no others of its own.
fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_projectord"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROJECTORD_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder).output().unwrap()
}

/// What it said about a configuration that is wrong, a line for each problem.
fn problems(output: &Output) -> Vec<String> {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(78), "{out}{err}");
    assert_eq!(out, "", "a wrong configuration prints nothing but what is wrong");
    assert!(!err.contains("panicked") && !err.contains("backtrace"), "{err}");
    let said = err.strip_prefix("projectord: ").unwrap_or_else(|| panic!("{err}"));
    said.lines().map(str::to_owned).collect()
}

/// The one problem.
fn problem(output: &Output) -> String {
    let mut problems = problems(output);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

fn repository_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")
}

async fn shipped_file_equals_defaults() {
    let loaded = load(Some(&repository_file())).unwrap();
    assert_eq!(loaded.config, Config::default());
}

async fn shipped_file_lists_every_key() {
    let file = std::fs::read_to_string(repository_file()).unwrap();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for (section, keys) in defaults.as_object().unwrap() {
        let rest = file.split(&format!("\n[{section}]\n")).nth(1).unwrap_or_else(|| panic!("no [{section}]"));
        let lines: Vec<&str> = rest.lines().take_while(|line| !line.starts_with('[')).collect();
        for key in keys.as_object().unwrap().keys() {
            // What has no default stands there as a comment.
            let is_key = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{key} ="));
            let at = lines.iter().position(is_key).unwrap_or_else(|| panic!("no {section}.{key}"));
            assert!(at > 0 && lines[at - 1].starts_with("# "), "{section}.{key} is not explained");
        }
    }
}

async fn unreadable_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("a-folder")).unwrap();
    std::fs::write(path("latin1.toml"), b"# \xe9\n").unwrap();
    std::fs::write(path("closed.toml"), "").unwrap();
    std::fs::set_permissions(path("closed.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    for (file, reason) in [
        ("missing.toml", "No such file"),
        ("a-folder", "a folder"),
        ("latin1.toml", "not UTF-8"),
        ("closed.toml", "ermission denied"),
    ] {
        if file == "closed.toml" && std::fs::read(path(file)).is_ok() {
            // Nothing is closed to root.
            continue;
        }
        for said in [
            problem(&run_in(folder.path(), &["config", "--config", file], &[])),
            problem(&run_in(folder.path(), &["config"], &[("PROJECTORD_CONFIG", file)])),
        ] {
            assert!(said.starts_with(&format!("{file}: ")) && said.contains(reason), "{said}");
        }
    }
    // The file that is there without being named is no exception.
    std::fs::create_dir(path("config.toml")).unwrap();
    let said = problem(&run_in(folder.path(), &["config"], &[]));
    assert!(said.starts_with("config.toml: ") && said.contains("folder"), "{said}");
}

async fn mistakes() {
    #[rustfmt::skip]
    let rows = [
        // Syntax: line and column, in characters.
        ("[postgres\n", &["config.toml:1:10: "] as &[&str]),
        ("[log]\nlevel = \"info\n", &["config.toml:2:14: "]),
        ("# ü\n[log] ü\n", &["config.toml:2:7: "]),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", &["config.toml:3:1: ", "duplicate"]),
        ("[log]\nlevel = info\n", &["config.toml:2:9: "]),
        // A name with a port is never asked for: hosts are compared without.
        ("[http]\nhosts = [\"example.org:8443\"]\n", &["config.toml: http.hosts: ", "has a port"]),
        ("[http]\nhosts = [\"[::1]:8443\"]\n", &["config.toml: http.hosts: ", "has a port"]),
        ("[http]\nhosts = [\"::1\"]\n", &["config.toml: http.hosts: ", "[::1]"]),
        // Keys and sections that there are not.
        ("[postgres]\nconections = 5\n", &["config.toml: postgres.conections: ", "did you mean \"connections\""]),
        ("[store]\nxyzzy = 5\n", &["config.toml: store.xyzzy: unknown key", "max_commit_bytes"]),
        ("[projektor]\nmax_batch = 5\n", &["config.toml: projektor.max_batch: ", "did you mean \"projector\""]),
        ("[projektor]\n", &["config.toml: projektor: ", "did you mean \"projector\""]),
        ("[xyzzy]\na = 1\n", &["config.toml: xyzzy.a: unknown section", "projections"]),
        ("max_batch = 5\n", &["config.toml: max_batch: unknown section"]),
        ("[log.level]\na = 1\n", &["config.toml: log.level: ", "expected a string"]),
        // Wrong kinds of value.
        ("[store]\nconnections = \"many\"\n", &["config.toml: store.connections: ", "\"many\"", "a whole number"]),
        ("[store]\nconnections = 1.5\n", &["config.toml: store.connections: ", "1.5", "a whole number"]),
        ("[postgres]\nurl = 5\n", &["config.toml: postgres.url: ", "`5`", "expected a string"]),
        ("[postgres]\nurl = [\"x\"]\n", &["config.toml: postgres.url: ", "expected a string"]),
        ("store = 5\n", &["config.toml: store: ", "a section"]),
        ("[log]\nformat = \"xml\"\n", &["config.toml: log.format: ", "\"xml\"", "auto, pretty, json"]),
        ("[projections]\non_change = \"\"\n", &["config.toml: projections.on_change: ", "rebuild, refuse, ignore"]),
        // Durations.
        ("[store]\ndeadline = 5\n", &["config.toml: store.deadline: ", "unit", "\"5s\""]),
        ("[store]\ndeadline = \"5\"\n", &["config.toml: store.deadline: ", "unit", "\"5s\""]),
        ("[store]\ndeadline = \"5 parsecs\"\n", &["config.toml: store.deadline: ", "unit", "\"5s\""]),
        ("[store]\ndeadline = \"-5s\"\n", &["config.toml: store.deadline: ", "unit"]),
        ("[shutdown]\ndrain = \"0s\"\n", &["config.toml: shutdown.drain: ", "longer than nothing"]),
        // Out of range.
        ("[store]\nconnections = -1\n", &["config.toml: store.connections: ", "-1", "not negative"]),
        ("[store]\nconnections = 0\n", &["config.toml: store.connections: ", "1 to 1000"]),
        ("[postgres]\nconnections = 1001\n", &["config.toml: postgres.connections: ", "1 to 1000"]),
        ("[store]\nmax_commit_bytes = 16777217\n", &["config.toml: store.max_commit_bytes: ", "16777217"]),
        ("[store]\nmax_commit_events = 10001\n", &["config.toml: store.max_commit_events: ", "10001"]),
        ("[projector]\nmax_batch = 0\n", &["config.toml: projector.max_batch: ", "at least 1"]),
        ("[projector]\nmax_batch = 5000000000\n", &["config.toml: projector.max_batch: ", "5000000000"]),
        ("[ingest]\nbatch_events = 0\n", &["config.toml: ingest.batch_events: ", "at least 1"]),
        ("[log]\nlevel = \"loud\"\n", &["config.toml: log.level: ", "\"loud\"", "debug"]),
        ("[log]\nlevel = \"info,projectord=loud\"\n", &["config.toml: log.level: ", "loud"]),
        ("[log]\nlevel = \"\"\n", &["config.toml: log.level: ", "debug"]),
        // What contradicts each other.
        ("[projector]\nbatch_timeout = \"200ms\"\n", &["projector.batch_timeout: ", "batch_time"]),
        ("[ingest]\nsweep_interval = \"20s\"\n", &["ingest.sweep_window: ", "sweep_interval"]),
        // URLs.
        ("[postgres]\nurl = \"mysql://h/d\"\n", &["config.toml: postgres.url: ", "postgres://"]),
        ("[postgres]\nurl = \"\"\n", &["config.toml: postgres.url: ", "postgres://"]),
        ("[postgres]\nurl = \"postgres://h:99999/d\"\n", &["config.toml: postgres.url: ", "port"]),
        ("[postgres]\nurl = \"postgres://h:x/d\"\n", &["config.toml: postgres.url: ", "port"]),
        ("[postgres]\nurl = \"postgres://h/d?sslmode=maybe\"\n", &["config.toml: postgres.url: ", "maybe"]),
        // The driver would pass over it, and use no TLS.
        ("[postgres]\nurl = \"postgres://h/d?sslmod=verify-full\"\n", &["postgres.url: ", "unknown parameter \"sslmod\""]),
        ("[store]\nurl = \"http://h/d\"\n", &["config.toml: store.url: ", "rethinkdb://", "http"]),
        ("[store]\nurl = \"rethinkdb://h:99999/d\"\n", &["config.toml: store.url: ", "port"]),
        ("[store]\nurl = \"rethinkdb://h\"\n", &["config.toml: store.url: ", "database"]),
        ("[store]\nurl = \"rethinkdb://h/a b\"\n", &["config.toml: store.url: ", "database"]),
    ];
    for (config, wanted) in rows {
        let folder = folder_with(config);
        let said = problem(&run_in(folder.path(), &["config"], &[]));
        assert!(wanted.iter().all(|part| said.contains(part)), "for {config:?}: {said}");
    }
}

async fn mistakes_in_variables() {
    let folder = folder_with("[postgres]\nconnections = 5\n");
    for (name, value, wanted) in [
        ("PROJECTORD_POSTGRES__CONNECTIONS", "many", "postgres.connections: "),
        ("PROJECTORD_POSTGRES__CONNECTIONS", "0", "postgres.connections: "),
        ("PROJECTORD_STORE__DEADLINE", "5", "store.deadline: "),
        ("PROJECTORD_STORE__URL", "http://h/d", "store.url: "),
        ("PROJECTORD_LOG__LEVLE", "info", "log.levle: unknown key; did you mean \"level\""),
        ("PROJECTORD_LOGS__LEVEL", "info", "logs.level: unknown section; did you mean \"log\""),
        ("PROJECTORD_STORE", "rethinkdb://h/d", "store: "),
    ] {
        let said = problem(&run_in(folder.path(), &["config"], &[(name, value)]));
        assert!(said.starts_with(&format!("environment, {name}: {wanted}")), "{said}");
    }
}

async fn all_at_once() {
    let folder = folder_with(
        "[postgres]\nurl = \"http://h\"\nconections = 1\n[store]\ndeadline = 5\n[projektor]\n[log]\nlevel = \"loud\"\n",
    );
    let variables = [("PROJECTORD_STORE__CONNECTIONS", "0"), ("PROJECTORD_INGEST__BATCH_BYTES", "all")];
    let said = problems(&run_in(folder.path(), &["check"], &variables));
    let keys = [
        "config.toml: postgres.url: ",
        "config.toml: postgres.conections: ",
        "config.toml: store.deadline: ",
        "config.toml: projektor: ",
        "config.toml: log.level: ",
        "environment, PROJECTORD_STORE__CONNECTIONS: store.connections: ",
        "environment, PROJECTORD_INGEST__BATCH_BYTES: ingest.batch_bytes: ",
    ];
    for key in keys {
        assert_eq!(said.iter().filter(|line| line.starts_with(key)).count(), 1, "{key} in {said:#?}");
    }
    assert_eq!(said.len(), keys.len(), "{said:#?}");
    // A file that cannot be parsed hides nothing of what the environment has wrong.
    let broken = folder_with("[postgres\n");
    assert_eq!(problems(&run_in(broken.path(), &["check"], &variables)).len(), 3);
}

async fn every_verb_refuses() {
    let folder = folder_with("[store]\ndeadline = 5\n");
    let stream = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
    for arguments in [
        &["setup"] as &[&str],
        &["run"],
        &["run", "--until-caught-up"],
        &["import", "-"],
        &["append", stream, "A", "{}"],
        &["stream", stream],
        &["tail"],
        &["status"],
        &["rebuild", "orders", "--yes"],
        &["pause", "orders"],
        &["resume", "orders"],
        &["check"],
        &["config"],
    ] {
        let said = problem(&run_in(folder.path(), arguments, &[]));
        assert!(said.starts_with("config.toml: store.deadline: "), "{arguments:?}: {said}");
    }
}

/// The line of `projectord config` for a key of a section.
fn setting(printed: &str, section: &str, key: &str) -> String {
    let rest = printed.split(&format!("[{section}]\n")).nth(1).unwrap_or_else(|| panic!("{printed}"));
    let mut lines = rest.lines().take_while(|line| !line.is_empty());
    lines.find(|line| line.starts_with(&format!("{key} ="))).unwrap_or_else(|| panic!("{printed}")).to_owned()
}

async fn precedence() {
    let folder = folder_with("[store]\nconnections = 5\n[postgres]\nconnections = 6\n");
    std::fs::rename(folder.path().join("config.toml"), folder.path().join("other.toml")).unwrap();
    let variables = [("PROJECTORD_POSTGRES__CONNECTIONS", "7"), ("PROJECTORD_STORE__DEADLINE", "1m 30s")];
    let output = run_in(folder.path(), &["config", "--config", "other.toml"], &variables);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for (section, key, value, source) in [
        ("store", "connections", "5", "# other.toml"),
        ("postgres", "connections", "7", "# environment, PROJECTORD_POSTGRES__CONNECTIONS"),
        ("store", "deadline", "\"1m 30s\"", "# environment, PROJECTORD_STORE__DEADLINE"),
        ("projector", "max_batch", "5000", "# default"),
        ("store", "url", "", "# default"),
    ] {
        let line = setting(&printed, section, key);
        assert!(line.starts_with(&format!("{key} = {value}")) && line.ends_with(source), "{line}");
    }
    // Every key is there, and no colour where nobody looks.
    for (section, keys) in serde_json::to_value(Config::default()).unwrap().as_object().unwrap() {
        keys.as_object().unwrap().keys().for_each(|key| drop(setting(&printed, section, key)));
    }
    assert!(!printed.contains('\x1b'));
}

async fn found_or_not_needed() {
    let folder = folder_with("[log]\nlevel = \"debug\"\n");
    let printed = text(&run_in(folder.path(), &["config"], &[]).stdout);
    assert!(setting(&printed, "log", "level").ends_with("# config.toml"), "{printed}");
    let empty = tempfile::tempdir().unwrap();
    let output = run_in(empty.path(), &["config"], &[]);
    assert!(output.status.success());
    assert!(setting(&text(&output.stdout), "log", "level").ends_with("# default"));
    // What the tests and the command line use themselves are no keys.
    let variables = [("PROJECTORD_PG_BIN", "/nowhere")];
    assert!(run_in(empty.path(), &["config"], &variables).status.success());
}

async fn url_files() {
    let folder = folder_with("[postgres]\nurl = \"postgres://h/d\"\n[store]\nurl_file = \"store-url\"\n");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("store-url", &format!("rethinkdb://writer:{SECRET}@s/shop\n"));
    write("postgres-url", &format!("postgres://writer:{SECRET}@p/shop\n"));
    write("empty", "\n");
    write("wrong", &format!("http://writer:{SECRET}@p/shop"));
    let run = |variables: &[(&str, &str)]| {
        let output = run_in(folder.path(), &["config"], variables);
        assert!(!(text(&output.stdout) + &text(&output.stderr)).contains(SECRET), "{variables:?}");
        output
    };
    // A file in the environment wins over a URL in config.toml, and the other way round.
    let printed = text(&run(&[("PROJECTORD_POSTGRES__URL_FILE", "postgres-url")]).stdout);
    let (postgres, store) = (setting(&printed, "postgres", "url"), setting(&printed, "store", "url"));
    assert!(postgres.contains("postgres://writer:***@p/shop") && postgres.ends_with("# postgres-url"));
    assert!(store.contains("rethinkdb://writer:***@s/shop") && store.ends_with("# store-url"), "{store}");
    let printed = text(&run(&[("PROJECTORD_STORE__URL", "rethinkdb://other/shop")]).stdout);
    assert!(setting(&printed, "store", "url").contains("rethinkdb://other/shop"), "{printed}");
    assert!(setting(&printed, "store", "url_file").contains("not set"), "{printed}");

    let (url, file) = ("PROJECTORD_POSTGRES__URL", "PROJECTORD_POSTGRES__URL_FILE");
    let misplaced = format!("postgres://writer:{SECRET}@p/shop");
    for (variables, wanted) in [
        (&[(file, "missing")] as &[_], "missing: cannot read it: No such file"),
        (&[(file, "empty")], "empty: it is empty"),
        (&[(file, "wrong")], "not a PostgreSQL URL"),
        (&[(file, &misplaced)], "cannot read it"),
        (&[(file, "postgres-url"), (url, "postgres://h/d")], "url is set beside it"),
    ] {
        let said = problem(&run(variables));
        let place = "environment, PROJECTORD_POSTGRES__URL_FILE: postgres.url_file: ";
        assert!(said.starts_with(place) && said.contains(wanted), "{said}");
    }
}

async fn no_password() {
    let url = |scheme: &str, rest: &str| format!("{scheme}://writer:{SECRET}@127.0.0.1{rest}");
    let (postgres, rethinkdb) = (url("postgres", ":1/d"), url("rethinkdb", ":1/d"));
    // Shown where they are right, with the password masked.
    let folder = tempfile::tempdir().unwrap();
    let both =
        [("PROJECTORD_POSTGRES__URL", postgres.as_str()), ("PROJECTORD_STORE__URL", rethinkdb.as_str())];
    let printed = text(&run_in(folder.path(), &["config"], &both).stdout);
    assert!(printed.contains("postgres://writer:***@127.0.0.1:1/d"), "{printed}");
    assert!(printed.contains("rethinkdb://writer:***@127.0.0.1:1/d"), "{printed}");
    assert!(!printed.contains(SECRET), "{printed}");

    // And never where they are wrong, or stand in the wrong place.
    for config in [
        format!("[postgres]\nurl = \"{}\"\n", url("postgres", ":99999/d")),
        format!("[postgres]\nurl = \"{}\"\n", url("http", "/d")),
        format!("[postgres]\nurl = \"writer:{SECRET}@h/d\"\n"),
        format!("[postgres]\nurl = \"postgres://writer:{SECRET}/x@h/d\"\n"),
        format!("[postgres]\nurl = \"postgres://h/d?password={SECRET}&sslmode=maybe\"\n"),
        format!("[postgres]\nurl = \"{postgres}\"\nulr = 1\n"),
        format!("[postgres]\nurl = \"{postgres}\n"),
        format!("[postgres]\nurl = {postgres}\n"),
        format!("[postgres]\nurl = [\"{postgres}\"]\n"),
        format!("[postgres]\nurl = {{ password = \"{SECRET}\" }}\n"),
        format!("[postgres]\nconnections = \"{postgres}\"\n"),
        format!("[store]\nurl = \"{}\"\n", url("rethinkdb", ":x/d")),
        format!("[store]\nurl = \"{}\"\n", url("rethinkdb", "")),
        format!("[store]\ndeadline = \"{rethinkdb}\"\n"),
        format!("[projections]\non_change = \"{rethinkdb}\"\n"),
        format!("[log]\nlevel = \"{postgres}\"\n"),
        format!("store = \"{rethinkdb}\"\n"),
        format!("url = \"{rethinkdb}\"\n"),
    ] {
        let folder = folder_with(&config);
        for said in problems(&run_in(folder.path(), &["config"], &[])) {
            assert!(!said.contains(SECRET), "for {config:?}: {said}");
        }
    }
}
