//! What a policy has taken out of requests, whatever they are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| codecrucible_workload::fuzzing::redaction(bytes));
