//! How far it is with pods that are tried out, as their live deployment has it.

use crate::service::rollout::rollback::Live;
use codecrucible_crds::names;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

/// What the live deployment of pods that are tried out says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveCanary {
    pub(crate) pods: Live,
    pub(super) step: usize,
    pub(super) step_since: Option<Timestamp>,
}

impl LiveCanary {
    pub(crate) fn of(deployment: Option<&DynamicObject>) -> Self {
        let annotation = |name| deployment?.annotations().get(name);
        let step = annotation(names::ANNOTATION_CANARY_STEP).and_then(|step| step.parse::<usize>().ok());
        let step_since = annotation(names::ANNOTATION_CANARY_STEP_SINCE);
        Self {
            pods: Live::of(deployment),
            step: step.unwrap_or(1).saturating_sub(1),
            step_since: step_since.and_then(|since| since.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// When the pods came, and when the step began.
    const BEGIN: Timestamp = Timestamp::constant(1_000, 0);
    const SOON: Timestamp = Timestamp::constant(1_010, 0);

    #[test]
    fn the_live_deployment_tells_where_it_is() {
        let annotations = json!({"codecrucible.dev/template": "a", "codecrucible.dev/canary-step": "2",
            "codecrucible.dev/template-since": BEGIN.to_string(), "codecrucible.dev/canary-step-since": SOON.to_string()});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "annotations": annotations}});
        let live = LiveCanary::of(Some(&serde_json::from_value(object).unwrap()));
        let expected = LiveCanary {
            pods: Live { template: Some("a".into()), rolled_back: None, since: Some(BEGIN) },
            step: 1,
            step_since: Some(SOON),
        };
        assert_eq!(live, expected);
        assert_eq!(LiveCanary::of(None), LiveCanary::default());
    }
}
