//! A policy in the objects that hold it: the ConfigMap that replicas mount, and what is kept of a service's past.

use super::desired::merge;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecrucible_contract::{Bundle, MAX_PACKED_BYTES, Packed, layout};
use serde_json::{Value, json};

/// Where a policy lies, plain or compressed.
type Files = (&'static str, &'static str);
const FILES: Files = (layout::BUNDLE_FILE, layout::COMPRESSED_BUNDLE_FILE);
const SHADOW_FILES: Files = (layout::SHADOW_FILE, layout::COMPRESSED_SHADOW_FILE);
/// The keys of what is kept.
const KEPT: &str = "bundle";
const KEPT_COMPRESSED: &str = "compressedBundle";

/// The content of the ConfigMap: the policy that is in force, and beside it the one that is only compared.
pub(crate) fn config_map(bundle: &Bundle, shadow: Option<&Bundle>) -> Value {
    let mut content = file(bundle, FILES);
    if let Some(shadow) = shadow {
        merge(&mut content, file(shadow, SHADOW_FILES));
    }
    content
}

/// Whether both have room in one ConfigMap.
pub(crate) fn have_room(bundle: &Bundle, shadow: &Bundle) -> bool {
    bundle.pack().bytes() + shadow.pack().bytes() <= MAX_PACKED_BYTES
}

fn file(bundle: &Bundle, (plain, compressed): Files) -> Value {
    match bundle.pack() {
        Packed::Plain(json) => json!({"data": {plain: json}}),
        Packed::Compressed(bytes) => json!({"binaryData": {compressed: STANDARD.encode(bytes)}}),
    }
}

/// The policy in a ConfigMap.
pub(crate) fn from_config_map(object: &Value) -> Option<Bundle> {
    from_file(object, FILES)
}

/// The policy in a ConfigMap that is only compared.
pub(crate) fn shadow_from_config_map(object: &Value) -> Option<Bundle> {
    from_file(object, SHADOW_FILES)
}

fn from_file(object: &Value, (plain, compressed): Files) -> Option<Bundle> {
    parse(&object["data"][plain], &object["binaryData"][compressed])
}

/// What is kept of a policy.
pub(crate) fn kept(bundle: &Bundle) -> Value {
    match bundle.pack() {
        Packed::Plain(json) => json!({KEPT: json}),
        Packed::Compressed(bytes) => json!({KEPT_COMPRESSED: STANDARD.encode(bytes)}),
    }
}

/// The policy that was kept under a revision. Nothing if that is something else.
pub(crate) fn from_kept(kept: &Value, revision: &str) -> Option<Bundle> {
    parse(&kept[KEPT], &kept[KEPT_COMPRESSED]).filter(|bundle| bundle.revision().to_string() == revision)
}

fn parse(plain: &Value, compressed: &Value) -> Option<Bundle> {
    match compressed.as_str() {
        Some(text) => Bundle::parse_compressed(&STANDARD.decode(text).ok()?).ok(),
        None => Bundle::parse(plain.as_str()?.as_bytes()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use crate::service::validate::validate;

    fn bundle(prompt: &str) -> Bundle {
        let voices: Vec<_> = (0..20)
            .map(|index| json!({"name": format!("v{index}"), "temperaturePercent": 1, "prompt": prompt}))
            .collect();
        let resource = fixtures::resource(json!({"synthesis": {"voices": voices}}));
        let Ok(validated) = validate(&resource, &fixtures::observed()) else { panic!("it is not valid") };
        validated.bundle
    }

    #[test]
    fn a_policy_of_any_size_is_found_again_where_it_was_put() {
        for (prompt, part) in [("short".to_owned(), "data"), ("long ".repeat(3_000), "binaryData")] {
            let bundle = bundle(&prompt);
            let object = config_map(&bundle, None);
            assert!(object[part].is_object(), "{part}");
            assert_eq!(from_config_map(&object), Some(bundle.clone()));
            assert_eq!(shadow_from_config_map(&object), None);
            let other = super::tests::bundle("other");
            let both = config_map(&bundle, Some(&other));
            assert_eq!(from_config_map(&both), Some(bundle.clone()));
            assert_eq!(shadow_from_config_map(&both), Some(other));
            let (revision, kept) = (bundle.revision().to_string(), kept(&bundle));
            assert_eq!(from_kept(&kept, &revision), Some(bundle));
            assert_eq!(from_kept(&kept, "1-0123456789ab"), None);
        }
    }
}
