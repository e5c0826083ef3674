//! What the pods that are tried out say of themselves, and how it is passed on.

use crate::service::acknowledgements::Answer;
use crate::service::rollout::failure::is_made_from;
use codecrucible_contract::Served;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use std::collections::BTreeMap;

/// What the pods that are tried out said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) served: Served,
    /// Those that answered, and refuse nothing.
    pub(crate) well: usize,
}

impl Heard {
    /// Of pods that are made from a template.
    pub(crate) fn of(template: &str, pods: &[Pod], answers: &BTreeMap<String, Answer>) -> Self {
        let made = pods.iter().filter(|pod| is_made_from(pod, template));
        let told: Vec<_> = made.filter_map(|pod| answers.get(&pod.name_any())?.as_ref().ok()).collect();
        Self {
            well: told.iter().filter(|told| told.refused.is_none()).count(),
            served: told.into_iter().fold(Served::default(), |all, told| all.with(&told.served)),
        }
    }
}

/// A number as it is reported: its first digit, and zeros. Each write of a status has the resource looked at again, and requests never
/// end.
pub(crate) fn rounded(number: u64) -> u64 {
    let digit = 10_u64.pow(number.checked_ilog10().unwrap_or(0));
    number / digit * digit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use codecrucible_contract::{Acknowledgement, Refused};
    use serde_json::json;

    #[test]
    fn only_pods_that_are_new_and_answer_are_heard() {
        let pod = |name: &str, template: &str| -> Pod {
            let annotations = json!({"codecrucible.dev/template": template});
            serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations}})).unwrap()
        };
        let pods = [
            pod("well", "new"),
            pod("refusing", "new"),
            pod("silent", "new"),
            pod("unasked", "new"),
            pod("old", "old"),
        ];
        let told = |requests| Acknowledgement {
            served: Served { requests, ..Served::default() },
            ..fixtures::acknowledgement("1-x", "x")
        };
        let refused = Some(Refused::new("no such model", 1));
        let answers = BTreeMap::from([
            ("well".to_owned(), Ok(told(1))),
            ("refusing".to_owned(), Ok(Acknowledgement { refused, ..told(2) })),
            ("silent".to_owned(), Err("no answer".to_owned())),
            ("old".to_owned(), Ok(told(4))),
        ]);
        let heard = Heard::of("new", &pods, &answers);
        assert_eq!((heard.served.requests, heard.well), (3, 1));
    }

    #[test]
    fn what_is_reported_changes_seldom() {
        assert_eq!([0, 9, 10, 19, 99, 100, 4_321].map(rounded), [0, 9, 10, 10, 90, 100, 4_000]);
        assert_eq!(rounded(u64::MAX), 10_000_000_000_000_000_000);
    }
}
