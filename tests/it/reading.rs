//! The order in which the sources are to be read is the order of what they import.

use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::support::trial;

pub fn trials() -> Vec<Trial> {
    vec![trial("reading::each_module_imports_only_from_those_above_it", one_direction)]
}

async fn one_direction() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let listed = std::fs::read_to_string(sources.join("lib.rs")).unwrap();
    let mut modules: Vec<&str> = Vec::new();
    for line in listed.lines() {
        let name = line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|it| it.strip_suffix(';'));
        modules.extend(name.filter(|it| !modules.contains(it)));
    }
    assert!(modules.len() > 20, "{modules:?}");
    let mut backwards = Vec::new();
    for (at, module) in modules.iter().enumerate() {
        for file in files(&sources, module) {
            let text = std::fs::read_to_string(&file).unwrap();
            for below in &modules[at + 1..] {
                if imports(&text, below) {
                    backwards.push(format!("{} imports {below}", file.display()));
                }
            }
        }
    }
    assert!(backwards.is_empty(), "{}", backwards.join("\n"));
}

fn files(sources: &Path, module: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![sources.join(module)]);
    found.extend(Some(sources.join(format!("{module}.rs"))).filter(|file| file.exists()));
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|it| it == "rs") {
                found.push(entry);
            }
        }
    }
    assert!(!found.is_empty(), "{module}");
    found
}

/// Whether `crate::module` is there, alone or first in one of the braces of a `use crate::{…}`.
fn imports(text: &str, module: &str) -> bool {
    let begins = |rest: &str| {
        rest.strip_prefix(module)
            .is_some_and(|rest| !rest.starts_with(|it: char| it.is_alphanumeric() || it == '_'))
    };
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.match_indices("crate::").any(|(at, path)| {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            None => begins(rest),
            Some(several) => {
                let (several, _) = several.split_once(';').unwrap_or((several, ""));
                several.split([',', '{']).any(|one| begins(one.trim()))
            }
        }
    })
}
