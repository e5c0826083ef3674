//! What is to be done about a resource, from what was seen of it.

use super::desired::{desired, wanted_template};
use super::facts::Facts;
use super::observe::Observed;
use super::outcome::Outcome;
use super::plan::Plan;
use super::rollout::choose_template;
use super::validate::validate;
use codecrucible_contract::secrets::SecretError;
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
    /// Decides. Secrets that are missing are made on the way.
    pub(crate) async fn make(
        resource: &CodeCrucible,
        observed: &Observed,
        now: Timestamp,
    ) -> Result<Self, SecretError> {
        let validated = match validate(resource, observed) {
            Err(invalid) => return Ok(Self::Leave(Outcome::Invalid(invalid))),
            Ok(validated) if resource.spec.maintenance.paused => {
                return Ok(Self::Leave(Outcome::Paused { endpoint: validated.endpoint }));
            }
            Ok(validated) => validated,
        };
        let facts = Facts::gather(resource, observed, now).await?;
        let wanted = wanted_template(resource, &validated);
        let chosen = choose_template(resource, wanted, &validated, observed, now);
        let desired = desired(resource, &validated, &facts, &chosen);
        Ok(Self::Apply(Box::new(Plan::new(resource, desired, &chosen, observed))))
    }

    /// Whether the service is well as it is.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Leave(outcome) => matches!(outcome, Outcome::Paused { .. }),
            Self::Apply(plan) => plan.changes.is_empty() && plan.outdated_pods.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::child::Child;
    use crate::reconcile::validate::tests as fixtures;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    #[tokio::test]
    async fn a_service_is_settled_when_nothing_differs() {
        let (resource, mut observed) = (fixtures::resource(json!({})), fixtures::observed());
        let decision = Decision::make(&resource, &observed, NOW).await.unwrap();
        assert!(!decision.is_settled());
        let Decision::Apply(plan) = decision else { panic!("it is to be applied") };
        assert_eq!(plan.changes.len(), Child::ALL.len());
        for prepared in plan.changes {
            observed.children.insert(prepared.child, serde_json::from_value(prepared.object).unwrap());
        }
        assert!(Decision::make(&resource, &observed, NOW).await.unwrap().is_settled());
        let pod = json!({"metadata": {"name": "old"}, "status": {"phase": "Running"}});
        observed.pods.push(serde_json::from_value(pod).unwrap());
        let Ok(Decision::Apply(plan)) = Decision::make(&resource, &observed, NOW).await else {
            panic!("invalid")
        };
        assert_eq!(plan.outdated_pods, ["old"]);
        assert!(!Decision::Apply(plan).is_settled());
    }

    #[tokio::test]
    async fn a_paused_service_is_settled_whatever_it_is_like() {
        let resource = fixtures::resource(json!({"maintenance": {"paused": true}}));
        assert!(Decision::make(&resource, &fixtures::observed(), NOW).await.unwrap().is_settled());
    }

    #[tokio::test]
    async fn a_wrong_resource_is_looked_at_twice() {
        let resource = fixtures::resource(json!({"backends": ["absent"]}));
        assert!(!Decision::make(&resource, &fixtures::observed(), NOW).await.unwrap().is_settled());
    }
}
