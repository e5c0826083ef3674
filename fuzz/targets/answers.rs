#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| codecrucible_workload::fuzzing::answers(bytes));
