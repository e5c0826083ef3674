//! What programs can tell Prometheus, and the list of it in `docs/metrics.md`.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use codecrucible_tests::paths::{repository, sources};
use std::collections::BTreeSet;

#[test]
fn every_metric_is_told_of_in_the_list_and_the_list_tells_of_no_other() {
    let list = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let listed = names_in(&list, '`');
    let mut made: BTreeSet<_> = ["workload/src", "workload/contract/src"]
        .into_iter()
        .flat_map(|folder| sources(&repository().join(folder)).unwrap())
        .flat_map(|file| names_in(&std::fs::read_to_string(file).unwrap(), '"'))
        .collect();
    let operators = std::fs::read_to_string(repository().join("operator/src/telemetry/metrics.rs")).unwrap();
    let operators = operators.split("#[cfg(test)]").next().unwrap();
    for maker in ["counters(", "gauges(", "gauge(", "named("] {
        for rest in operators.split(maker).skip(1) {
            let name = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            made.extend(name.map(|name| format!("codecrucible_operator_{name}")));
        }
    }
    assert!(made.len() > 40, "{made:?}");
    assert_eq!(made, listed);
}

/// What is called like a metric between such quotes.
fn names_in(text: &str, quote: char) -> BTreeSet<String> {
    let is_name = |word: &&str| {
        word.starts_with("codecrucible_")
            && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    };
    text.split(quote).filter(is_name).map(str::to_owned).collect()
}
