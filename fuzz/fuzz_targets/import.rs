//! Lines of `projectord import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| projectord::fuzzing::import(bytes));
