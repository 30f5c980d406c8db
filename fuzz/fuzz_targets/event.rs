//! Rules of events.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| projectord::fuzzing::event(bytes));
