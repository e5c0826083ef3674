//! A bundle that is read, written and read again is the same one.
#![no_main]

use codecrucible_contract::Bundle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Bundle::parse_compressed(bytes);
    if let Ok(bundle) = Bundle::parse(bytes) {
        let again = Bundle::parse(bundle.to_json().as_bytes()).expect("what was written is valid");
        assert_eq!(again.hash(), bundle.hash());
    }
});
