//! What is to be done about a resource, from what was seen of it. Pure.

use super::desired::{desired, wanted_template};
use super::facts::Facts;
use super::observe::Observed;
use super::outcome::Outcome;
use super::plan::Plan;
use super::rollout::choose_template;
use super::validate::{Validated, validate};
use codecrucible_crds::CodeCrucible;
use jiff::Timestamp;

/// What follows from what was seen.
pub(crate) enum Decision {
    /// Nothing is to be written, and this comes of it.
    Leave(Outcome),
    /// A service is to be as planned.
    Apply(Box<Plan>),
}

impl Decision {
    /// For a resource that is accepted. Pure.
    pub(crate) fn make(
        resource: &CodeCrucible,
        validated: &Validated,
        facts: &Facts,
        observed: &Observed,
        now: Timestamp,
    ) -> Self {
        let wanted = wanted_template(resource, validated);
        let chosen = choose_template(resource, wanted, validated, observed, now);
        let desired = desired(resource, validated, facts, &chosen);
        Self::Apply(Box::new(Plan::new(resource, desired, &chosen, observed)))
    }

    /// Whether the service is well as it is.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Leave(outcome) => matches!(outcome, Outcome::Paused { .. }),
            Self::Apply(plan) => plan.changes.is_empty() && plan.outdated_pods.is_empty(),
        }
    }
}

/// A resource for which something may be written, or what comes of one that is wrong or paused.
pub(crate) fn accept(resource: &CodeCrucible, observed: &Observed) -> Result<Validated, Decision> {
    match validate(resource, observed) {
        Err(invalid) => Err(Decision::Leave(Outcome::Invalid(invalid))),
        Ok(Validated { endpoint, .. }) if resource.spec.maintenance.paused => {
            Err(Decision::Leave(Outcome::Paused { endpoint }))
        }
        Ok(validated) => Ok(validated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::child::Child;
    use crate::reconcile::facts::tests::fixed;
    use crate::reconcile::validate::tests as fixtures;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn decide(resource: &CodeCrucible, observed: &Observed) -> Decision {
        match accept(resource, observed) {
            Err(left) => left,
            Ok(validated) => Decision::make(resource, &validated, &fixed(), observed, NOW),
        }
    }

    #[test]
    fn a_service_is_settled_when_nothing_differs() {
        let (resource, mut observed) = (fixtures::resource(json!({})), fixtures::observed());
        let decision = decide(&resource, &observed);
        assert!(!decision.is_settled());
        let Decision::Apply(plan) = decision else { panic!("it is to be applied") };
        assert_eq!(plan.changes.len(), Child::ALL.len());
        for prepared in plan.changes {
            observed.children.insert(prepared.child, serde_json::from_value(prepared.object).unwrap());
        }
        assert!(decide(&resource, &observed).is_settled());
        let pod = json!({"metadata": {"name": "old"}, "status": {"phase": "Running"}});
        observed.pods.push(serde_json::from_value(pod).unwrap());
        let Decision::Apply(plan) = decide(&resource, &observed) else { panic!("invalid") };
        assert_eq!(plan.outdated_pods, ["old"]);
        assert!(!Decision::Apply(plan).is_settled());
    }

    #[test]
    fn a_paused_service_is_settled_whatever_it_is_like() {
        let resource = fixtures::resource(json!({"maintenance": {"paused": true}}));
        assert!(decide(&resource, &fixtures::observed()).is_settled());
    }

    #[test]
    fn a_wrong_resource_is_looked_at_twice() {
        let resource = fixtures::resource(json!({"backends": ["absent"]}));
        assert!(!decide(&resource, &fixtures::observed()).is_settled());
    }
}
