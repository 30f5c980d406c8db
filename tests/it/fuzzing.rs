//! The fuzzer's targets, driven for a moment from its seeds: bytes changed, cut, doubled and mixed at random.
//! `make fuzz` goes on where this ends.

use std::path::Path;

use fastrand::Rng;
use libtest_mimic::Trial;

use projectord::fuzzing;

use crate::support::trial;

const ROUNDS: usize = 3_000;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("fuzzing::rules_of_events", async || mutated("event", fuzzing::event)),
        trial("fuzzing::lines_of_an_import", async || mutated("import", fuzzing::import)),
        trial("fuzzing::a_projections_folder", async || {
            in_a_folder("projection", fuzzing::projection);
        }),
        trial("fuzzing::configuration", async || in_a_folder("configuration", fuzzing::configuration)),
    ]
}

fn in_a_folder(target: &str, drive: fn(&Path, &[u8])) {
    let folder = tempfile::tempdir().unwrap();
    mutated(target, |bytes| drive(folder.path(), bytes));
}

/// What fails names its input: that is a seed from then on.
fn mutated(target: &str, drive: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let seeds: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    seeds.iter().for_each(|seed| drive(seed));
    let mut random = Rng::with_seed(7);
    for _ in 0..ROUNDS {
        let mut bytes = seeds[random.usize(..seeds.len())].clone();
        for _ in 0..random.usize(1..6) {
            mutate(&mut bytes, &seeds, &mut random);
        }
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drive(&bytes)));
        assert!(ended.is_ok(), "{target}: {shown:?}");
    }
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    let to = random.usize(at..=bytes.len().min(at + 20));
    match random.u8(..6) {
        0 => bytes.splice(at..to, []).for_each(drop),
        1 => bytes.insert(at, random.u8(..)),
        2 => {
            let again = bytes[at..to].to_vec();
            bytes.splice(at..at, again).for_each(drop);
        }
        3 => {
            let other = &seeds[random.usize(..seeds.len())];
            let from = random.usize(..=other.len());
            let piece = other[from..other.len().min(from + 40)].to_vec();
            bytes.splice(at..to, piece).for_each(drop);
        }
        4 => {
            let said = [
                "\\u0000",
                "1e400",
                "9007199254740993",
                "-0.0",
                "[[[[[[[[",
                "\"",
                "{}",
                "\\ud800",
                "$reql_type$",
                "\n",
                "\0",
                "'",
                "$$",
                "/*",
                "commit;",
                "[on]",
                "= \"*\"",
                "5s",
            ];
            bytes.splice(at..at, said[random.usize(..said.len())].bytes()).for_each(drop);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.u8(..8);
            }
        }
    }
}
