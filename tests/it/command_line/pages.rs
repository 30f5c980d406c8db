//! Completions and manual pages: what is printed is what shells and `man` take.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::text;

/// The binary where there is no configuration, nor a database.
fn printed(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_projectord"))
        .args(arguments)
        .current_dir(folder.path())
        .env("PROJECTORD_CONFIG", "there-is-none")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What a program says of a text on its standard input.
fn judged(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

/// The verbs that `--help` lists.
fn verbs() -> Vec<String> {
    let help = printed(&["--help"]);
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let indented = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let verbs: Vec<String> = listed
        .lines()
        .filter(indented)
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    verbs
}

pub async fn completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for verb in verbs().iter().filter(|verb| *verb != "help") {
            assert!(script.contains(verb.as_str()), "{shell} does not know {verb}");
        }
        if is_here(shell) {
            let output = judged(shell, &["-n", "/dev/stdin"], &script);
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {}", text(&output.stderr));
        }
    }
    let asked = "source /dev/stdin; COMP_WORDS=(projectord reb); COMP_CWORD=1;
                 _projectord projectord reb projectord; echo \"${COMPREPLY[@]}\"";
    let output = judged("bash", &["--norc", "-c", asked], &printed(&["completions", "bash"]));
    assert_eq!(text(&output.stdout).trim(), "rebuild", "{}", text(&output.stderr));
}

pub async fn manual() {
    let page = printed(&["man"]);
    assert!(
        page.contains("projectord") && page.contains("EXIT CODES") || page.contains("Exit codes"),
        "{page}"
    );
    for verb in verbs().iter().filter(|verb| *verb != "help") {
        assert!(page.contains(&format!("projectord\\-{verb}(1)")), "the page does not name {verb}");
    }
    let rebuild = printed(&["man", "rebuild"]);
    assert!(rebuild.contains(".TH projectord-rebuild 1") && rebuild.contains("in\\-place"), "{rebuild}");
    for page in [page, rebuild] {
        if Path::new("/usr/bin/man").exists() && is_here("groff") {
            let output = judged("man", &["--warnings", "-E", "UTF-8", "-l", "-"], &page);
            assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
            assert!(text(&output.stdout).contains("SYNOPSIS"), "{}", text(&output.stdout));
        }
        if is_here("mandoc") {
            let output = judged("mandoc", &["-T", "lint", "-W", "error"], &page);
            assert!(output.status.success(), "{}", text(&output.stdout));
        }
    }
}
