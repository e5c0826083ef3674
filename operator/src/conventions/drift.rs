//! Whether an object that exists still is what was applied.
//!
//! The live object holds more than was applied: defaults, status, what others added. Only what was applied
//! is compared, so that a steady state needs no write to find out. What is no longer wanted cannot be seen
//! that way: it shows in the hash of all that was applied, which is applied as an annotation.

use serde_json::Value;

/// Lists of things that have names, and yet are the property of whoever applies them: to add to one is to open a way, or to have
/// somebody trusted.
const ATOMIC: [&str; 3] = ["parentRefs", "targetRefs", "caCertificateRefs"];

/// Whether `live` holds everything that `desired` says.
pub(crate) fn contains(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let holds = |key: &str, value| {
                let contains = if ATOMIC.contains(&key) { is_whole } else { contains };
                live.get(key).is_some_and(|live| contains(live, value))
            };
            desired.iter().all(|(key, value)| holds(key, value))
        }
        (Value::Array(live), Value::Array(desired)) => contains_list(live, desired),
        (Value::String(live), Value::String(desired)) => live == desired || is_same_quantity(live, desired),
        (live, desired) => live == desired,
    }
}

/// Lists of named things are sets by name, to which others may add; other lists belong to whoever applies
/// them as a whole, so nothing may have been added inside them either.
fn contains_list(live: &[Value], desired: &[Value]) -> bool {
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    if !desired.is_empty() && desired.iter().all(|value| name(value).is_some()) {
        return desired.iter().all(|wanted| {
            live.iter().find(|live| name(live) == name(wanted)).is_some_and(|live| contains(live, wanted))
        });
    }
    is_each_same(live, desired)
}

/// Whether a list is just what was applied.
fn is_whole(live: &Value, desired: &Value) -> bool {
    matches!((live, desired), (Value::Array(live), Value::Array(desired)) if is_each_same(live, desired))
}

fn is_each_same(live: &[Value], desired: &[Value]) -> bool {
    live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| is_same(live, desired))
}

fn is_same(live: &Value, desired: &Value) -> bool {
    contains(live, desired) && contains(desired, live)
}

/// The API server rewrites quantities: `1000m` is stored as `1`.
fn is_same_quantity(one: &str, other: &str) -> bool {
    matches!((billionths(one), billionths(other)), (Some(one), Some(other)) if one == other)
}

/// One, in the smallest part that a quantity can name.
const UNIT: i128 = 1_000_000_000;

/// A quantity in billionths.
fn billionths(quantity: &str) -> Option<i128> {
    let digits = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let unit: i128 = match unit {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => UNIT,
        "Ki" => UNIT << 10,
        "Mi" => UNIT << 20,
        "Gi" => UNIT << 30,
        "Ti" => UNIT << 40,
        "Pi" => UNIT << 50,
        "Ei" => UNIT << 60,
        "k" => UNIT * 1_000,
        "M" => UNIT * 1_000_000,
        "G" => UNIT * 1_000_000_000,
        "T" => UNIT * 1_000_000_000_000,
        "P" => UNIT * 1_000_000_000_000_000,
        "E" => UNIT * 1_000_000_000_000_000_000,
        exponent => {
            UNIT.checked_mul(10_i128.checked_pow(exponent.strip_prefix(['e', 'E'])?.parse().ok()?)?)?
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    digits.checked_mul(unit).map(|value| value / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_added_is_no_drift() {
        let live = json!({"spec": {"replicas": 3, "paused": false}, "status": {}, "list": [{"name": "b"}, {"name": "a", "x": 1}]});
        assert!(contains(&live, &json!({"spec": {"replicas": 3}, "list": [{"name": "a"}]})));
    }

    #[test]
    fn what_was_changed_or_removed_is_drift() {
        let desired = json!({"spec": {"replicas": 3, "ports": [1, 2]}, "rules": [{"port": 1}], "list": [{"name": "a", "x": 1}]});
        assert!(contains(&desired, &desired));
        for (pointer, value) in [
            ("/spec/replicas", json!(4)),
            ("/spec/ports", json!([1])),
            ("/spec/ports", json!([1, 2, 3])),
            ("/rules/0", json!({"port": 1, "endPort": 9})),
            ("/list/0/x", json!(2)),
            ("/list", json!([])),
            ("/spec", json!(null)),
        ] {
            let mut live = desired.clone();
            *live.pointer_mut(pointer).unwrap() = value;
            assert!(!contains(&live, &desired), "{pointer}");
        }
    }

    #[test]
    fn what_was_added_to_the_ways_to_a_service_is_drift_whatever_its_name() {
        let parent = |name: &str, section: &str| json!({"name": name, "sectionName": section});
        let desired = json!({"parentRefs": [parent("a", "http"), parent("a", "https")]});
        assert!(contains(&desired, &desired));
        let live = json!({"parentRefs": [parent("a", "http"), parent("a", "https"), parent("b", "http")]});
        assert!(!contains(&live, &desired));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            ("1Gi", "1024Mi"),
            ("2G", "2000M"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("500000u", "500m"),
        ] {
            assert!(is_same_quantity(one, other), "{one} {other}");
        }
        assert!(!is_same_quantity("1Gi", "1G"));
        assert!(!is_same_quantity("abc", "abd"));
    }
}
