//! Tests of projections: `projectord test`, the kit behind it, and what `projectord new` makes.

mod kit;
mod new;
mod verdicts;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    [verdicts::trials(), kit::trials(), new::trials()].into_iter().flatten().collect()
}
