//! What is read of a bundle, written and read again is the same policy.
#![no_main]

use codecrucible_contract::Bundle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Bundle::parse_compressed(bytes);
    if let Ok(bundle) = Bundle::parse(bytes) {
        let written = Bundle::compile(bundle.policy().clone(), None).expect("it was valid").to_json();
        let again = Bundle::parse(written.as_bytes()).expect("what was written is valid");
        assert_eq!(again.policy(), bundle.policy());
    }
});
