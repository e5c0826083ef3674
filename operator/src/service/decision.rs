//! What is to be done about a resource, from what was seen of it. Pure.

use super::child::Child;
use super::desired::{Replicas, desired, wanted_template};
use super::facts::Facts;
use super::observe::Observed;
use super::outcome::Outcome;
use super::plan::Plan;
use super::remediation::{Remediation, remediate};
use super::rollout::{choose_policy, choose_template};
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
    /// For a resource that is accepted. `may_act`: whether replicas may be replaced. Pure.
    pub(crate) fn make(
        resource: &CodeCrucible,
        validated: Validated,
        facts: &Facts,
        observed: &Observed,
        may_act: bool,
        now: Timestamp,
    ) -> Self {
        let wanted = wanted_template(resource, &validated);
        let chosen = choose_template(resource, wanted, &validated, observed, now);
        let (published, last_good) = (validated.published.as_ref(), observed.last_good_policy.as_ref());
        let bundle = choose_policy(&chosen, validated.bundle.clone(), published, last_good);
        let validated = Validated { bundle, ..validated };
        let replicas = Replicas::of(resource, observed.children.get(&Child::Deployment));
        let Remediation { eviction, at } = remediate(resource, &validated, observed, may_act, now);
        let desired = desired(resource, &validated, facts, &chosen, replicas, &at);
        let plan = Plan::new(resource, &validated.bundle, desired, &chosen, replicas, observed, now);
        Self::Apply(Box::new(Plan { eviction, ..plan }))
    }

    /// Whether the service is well as it is.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Leave(outcome) => matches!(outcome, Outcome::Paused),
            Self::Apply(plan) => plan.is_empty(),
        }
    }
}

/// A resource for which something may be written, or what comes of one that is wrong or paused.
pub(crate) fn accept(resource: &CodeCrucible, observed: &Observed) -> Result<Validated, Decision> {
    match validate(resource, observed) {
        Err(invalid) => Err(Decision::Leave(Outcome::Invalid(invalid))),
        Ok(_) if resource.spec.maintenance.paused => Err(Decision::Leave(Outcome::Paused)),
        Ok(validated) => Ok(validated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use codecrucible_crds::{Autoscaling, CodeCrucibleStatus, names};
    use jiff::SignedDuration;
    use kube::ResourceExt as _;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn decide(resource: &CodeCrucible, observed: &Observed) -> Decision {
        match accept(resource, observed) {
            Err(left) => left,
            Ok(validated) => Decision::make(resource, validated, &fixtures::facts(), observed, true, NOW),
        }
    }

    #[test]
    fn a_service_is_settled_when_nothing_differs() {
        let resource = fixtures::resource(json!({}));
        let decision = decide(&resource, &fixtures::observed());
        assert!(!decision.is_settled());
        let Decision::Apply(plan) = decision else { panic!("it is to be applied") };
        assert_eq!(
            plan.changes.len(),
            12,
            "nobody asked for an autoscaler, cert-manager, or a way from outside"
        );

        let (resource, mut observed) = settled(json!({}));
        assert!(decide(&resource, &observed).is_settled());
        let pod = json!({"metadata": {"name": "old"}, "status": {"phase": "Running"}});
        observed.pods.push(serde_json::from_value(pod).unwrap());
        let Decision::Apply(plan) = decide(&resource, &observed) else { panic!("invalid") };
        assert_eq!(plan.outdated_pods, ["old"]);
        assert!(!Decision::Apply(plan).is_settled());
    }

    /// A service that is as it should be.
    fn settled(spec: Value) -> (CodeCrucible, Observed) {
        let (resource, mut observed) = (fixtures::resource(spec), fixtures::observed());
        let Decision::Apply(plan) = decide(&resource, &observed) else { panic!("it is to be applied") };
        for prepared in plan.changes {
            observed.children.insert(prepared.child, serde_json::from_value(prepared.object).unwrap());
        }
        (resource, observed)
    }

    #[test]
    fn an_autoscaler_that_is_no_longer_wanted_goes_before_the_replicas_are_set() {
        let (mut resource, observed) = settled(json!({"autoscaling": {"minReplicas": 2}}));
        resource.spec.autoscaling = None;
        let Decision::Apply(plan) = decide(&resource, &observed) else { panic!("it is to be applied") };
        assert_eq!(plan.removals.iter().map(|gone| gone.child).collect::<Vec<_>>(), [Child::Autoscaler]);
        assert_eq!(plan.changes.iter().map(|made| made.child).collect::<Vec<_>>(), [Child::Deployment]);
        assert_eq!(plan.handover, None);
    }

    #[test]
    fn cert_manager_is_asked_until_the_pods_that_need_no_longer_what_it_issues_are_proven() {
        let (mut resource, mut observed) = settled(json!({}));
        let certificate =
            json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "demo"}});
        observed.children.insert(Child::IssuedCertificate, serde_json::from_value(certificate).unwrap());
        let removed = |resource: &CodeCrucible, observed: &Observed| match decide(resource, observed) {
            Decision::Apply(plan) => plan.removals.into_iter().map(|gone| gone.child).collect::<Vec<_>>(),
            Decision::Leave(_) => panic!("it is to be applied"),
        };
        assert_eq!(removed(&resource, &observed), [], "the deployment has not rolled yet");
        let rolled = json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        let Some(deployment) = observed.children.get_mut(&Child::Deployment) else { panic!("none") };
        deployment.data["spec"]["replicas"] = json!(2);
        deployment.data["status"] = rolled;
        let ready_for = |seconds| {
            let since = (NOW - SignedDuration::from_secs(seconds)).to_string();
            let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
            vec![
                serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"conditions": ready}}))
                    .unwrap(),
            ]
        };
        observed.pods = ready_for(1);
        assert_eq!(removed(&resource, &observed), [], "the pods may fail, and those of before come back");
        observed.pods = ready_for(60);
        assert_eq!(removed(&resource, &observed), [Child::IssuedCertificate]);

        observed.pods = ready_for(1);
        let key = observed.children[&Child::Deployment].annotations()[names::ANNOTATION_TEMPLATE].clone();
        let rollout = json!({"phase": "Progressing", "revision": key, "lastGood": key});
        let rollout = serde_json::from_value(rollout).unwrap();
        resource.status = Some(CodeCrucibleStatus { rollout, ..Default::default() });
        assert_eq!(removed(&resource, &observed), [Child::IssuedCertificate], "they ran well before");
    }

    #[test]
    fn replicas_are_handed_over_before_they_are_left_out() {
        let (mut resource, mut observed) = settled(json!({"replicas": 4}));
        resource.spec.autoscaling = Some(Autoscaling::default());
        let handover = |observed: &Observed| match decide(&resource, observed) {
            Decision::Apply(plan) => plan.handover,
            Decision::Leave(_) => panic!("it is to be applied"),
        };
        assert_eq!(handover(&observed), None, "somebody else has them already");
        observed.replicas_are_ours_alone = true;
        assert_eq!(handover(&observed), Some(4));
    }

    #[test]
    fn an_autoscaler_of_somebody_else_is_in_nobodys_way_unless_ours_is_wanted() {
        let (mut resource, mut observed) = settled(json!({}));
        observed.foreign.insert(Child::Autoscaler);
        assert!(decide(&resource, &observed).is_settled());
        resource.spec.autoscaling = Some(Autoscaling::default());
        assert!(matches!(decide(&resource, &observed), Decision::Leave(Outcome::Invalid(_))));
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
