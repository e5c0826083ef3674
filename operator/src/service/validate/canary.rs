//! How new pods are to be tried out, with its times read.

use super::{Invalid, compile};
use crate::service::child::Child;
use crate::service::observe::Observed;
use crate::service::rollout::{CanaryRules, Step};
use codecrucible_crds::{CanaryStep, CodeCrucible};
use std::time::Duration;

/// Where it is said.
const PATH: &str = "spec.rollout.canary";
/// Longest step, seconds.
const MAX_HOLD_SECONDS: u32 = 86_400;
/// Times within which answers may have to begin, milliseconds.
const LATENCY_MILLISECONDS: std::ops::RangeInclusive<u64> = 10..=60_000;

/// Nothing, if nothing is to be tried out.
pub(super) fn rules(resource: &CodeCrucible) -> Result<Option<CanaryRules>, Invalid> {
    let Some(canary) = &resource.spec.rollout.canary else { return Ok(None) };
    if canary.steps.is_empty() {
        return Err(Invalid::value(format!("{PATH}.steps: needs at least one step")));
    }
    let steps = canary.steps.iter().enumerate();
    let steps = steps.map(|(index, written)| step(&format!("{PATH}.steps[{index}]"), written));
    Ok(Some(CanaryRules {
        steps: steps.collect::<Result<_, _>>()?,
        minimum_requests: count("minimumRequests", canary.minimum_requests)?,
        max_error_percent: count("maxErrorPercent", canary.max_error_percent)?,
        max_latency_milliseconds: canary.max_latency.as_ref().map(max_latency).transpose()?,
    }))
}

/// Why new pods wait, although they are to be tried out.
pub(super) fn note(resource: &CodeCrucible, observed: &Observed) -> Option<String> {
    let is_taken = observed.foreign.contains(&Child::Canary) && resource.spec.rollout.canary.is_some();
    let name = Child::Canary.name(resource);
    is_taken.then(|| format!("{PATH}: no new pods can be tried out, or come at all, since somebody else has a Deployment {name:?}"))
}

fn count(field: &str, written: i32) -> Result<u64, Invalid> {
    u64::try_from(written).map_err(|_| Invalid::value(format!("{PATH}.{field}: must be 0 or more")))
}

fn max_latency(written: &codecrucible_crds::Duration) -> Result<u64, Invalid> {
    let path = format!("{PATH}.maxLatency");
    let length = compile::milliseconds(&path, written)?;
    if !LATENCY_MILLISECONDS.contains(&length) {
        return Err(Invalid::value(format!("{path}: must be 10ms to 1m")));
    }
    Ok(length)
}

fn step(path: &str, written: &CanaryStep) -> Result<Step, Invalid> {
    let hold = compile::seconds(&format!("{path}.hold"), &written.hold)?;
    if !(1..=MAX_HOLD_SECONDS).contains(&hold) {
        return Err(Invalid::value(format!("{path}.hold: must be 1s to 1d")));
    }
    Ok(Step { weight_percent: written.weight_percent, hold: Duration::from_secs(hold.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::{Value, json};

    fn read(canary: Value) -> Result<Option<CanaryRules>, Invalid> {
        rules(&fixtures::resource(json!({"rollout": {"canary": canary}})))
    }

    #[test]
    fn a_deployment_of_somebody_else_is_told_where_it_is_in_the_way() {
        let mut observed = fixtures::observed();
        observed.foreign.insert(Child::Canary);
        assert_eq!(note(&fixtures::resource(json!({})), &observed), None);
        let steps = json!([{"weightPercent": 10}]);
        let resource = fixtures::resource(json!({"rollout": {"canary": {"steps": steps}}}));
        assert!(
            note(&resource, &observed).unwrap().ends_with("somebody else has a Deployment \"demo-canary\"")
        );
    }

    #[test]
    fn times_that_cannot_be_are_named_with_their_path() {
        let steps = json!([{"weightPercent": 10}, {"weightPercent": 50, "hold": "100ms"}]);
        let refused = |canary| read(canary).unwrap_err().message;
        assert_eq!(refused(json!({"steps": steps})), "spec.rollout.canary.steps[1].hold: must be 1s to 1d");
        assert_eq!(refused(json!({"steps": []})), "spec.rollout.canary.steps: needs at least one step");
        let steps = json!([{"weightPercent": 10, "hold": "30s"}]);
        let slow = json!({"steps": steps, "maxLatency": "2m"});
        assert_eq!(refused(slow), "spec.rollout.canary.maxLatency: must be 10ms to 1m");
        let Ok(Some(rules)) = read(json!({"steps": steps, "maxLatency": "2s"})) else { panic!("refused") };
        assert_eq!(rules.max_latency_milliseconds, Some(2_000));
        assert_eq!(rules.steps, [Step { weight_percent: 10, hold: Duration::from_secs(30) }]);
    }
}
