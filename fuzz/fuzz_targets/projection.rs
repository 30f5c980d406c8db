//! A projection's folder.
#![no_main]

use std::sync::LazyLock;

use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a temporary folder"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| projectord::fuzzing::projection(FOLDER.path(), bytes));
