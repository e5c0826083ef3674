//! Which backends are asked, from the resource's fields to the policy's.

use super::Invalid;
use super::compile::{milliseconds, number};
use codecrucible_contract as contract;
use codecrucible_crds::{Affinity, Automatic, CodeCrucible, Routing, Urgency, UrgencyMatch, UrgencyRule};
use kube::ResourceExt as _;

pub(super) fn routing(resource: &CodeCrucible) -> Result<contract::Routing, Invalid> {
    let Routing { retry_budget_percent, affinity, hedge_after, max_resting_percent, automatic, urgencies } =
        &resource.spec.routing;
    let affinity = match affinity {
        Affinity::None => contract::Affinity::None,
        Affinity::PromptPrefix => contract::Affinity::PromptPrefix,
    };
    let retry_budget_percent = number("spec.routing.retryBudgetPercent", *retry_budget_percent)?;
    let hedge_after = hedge_after.as_ref().map(|after| milliseconds("spec.routing.hedgeAfter", after));
    let max_resting_percent = number("spec.routing.maxRestingPercent", *max_resting_percent)?;
    // It is told only where it matters, so that other policies keep their hash.
    let namespace = if urgencies.is_empty() { None } else { resource.namespace() };
    Ok(contract::Routing {
        retry_budget_percent,
        affinity,
        hedge_after_ms: hedge_after.transpose()?,
        max_resting_percent,
        automatic: automatic.as_ref().map(self::automatic).transpose()?,
        urgencies: urgencies.iter().map(urgency).collect(),
        namespace: namespace.unwrap_or_default(),
    })
}

fn automatic(automatic: &Automatic) -> Result<contract::Automatic, Invalid> {
    let Automatic { model, fast_below_percent, quality_above_percent } = automatic;
    Ok(contract::Automatic {
        model: model.clone(),
        fast_below_percent: number("spec.routing.automatic.fastBelowPercent", *fast_below_percent)?,
        quality_above_percent: number("spec.routing.automatic.qualityAbovePercent", *quality_above_percent)?,
    })
}

fn urgency(rule: &UrgencyRule) -> contract::UrgencyRule {
    let urgency = match rule.urgency {
        Urgency::High => contract::Urgency::High,
        Urgency::Normal => contract::Urgency::Normal,
        Urgency::Low => contract::Urgency::Low,
    };
    let UrgencyMatch { models, namespaces } = rule.matching.clone();
    contract::UrgencyRule { urgency, models, namespaces }
}

#[cfg(test)]
mod tests {
    use crate::service::fixtures::{observed, resource};
    use crate::service::validate::validate;
    use codecrucible_contract as contract;
    use serde_json::json;

    #[test]
    fn whose_requests_are_urgent_reaches_the_policy_with_the_services_own_namespace() {
        let spec = json!({"routing": {
            "hedgeAfter": "800ms", "maxRestingPercent": 50,
            "urgencies": [{"urgency": "Low", "match": {"namespaces": ["batch"]}}],
        }});
        let validated = validate(&resource(spec), &observed()).unwrap();
        let routing = &validated.bundle.policy().routing;
        assert_eq!((routing.hedge_after_ms, routing.max_resting_percent), (Some(800), 50));
        assert_eq!((routing.urgency("batch", "m"), &*routing.namespace), (contract::Urgency::Low, "team"));
        let none = validate(&resource(json!({})), &observed()).unwrap();
        assert_eq!(none.bundle.policy().routing, contract::Routing::default(), "nothing new by itself");
    }

    #[test]
    fn what_is_out_of_range_is_told_by_its_path() {
        let message = |routing| {
            validate(&resource(json!({"routing": routing})), &observed()).err().map(|invalid| invalid.message)
        };
        assert_eq!(
            message(json!({"hedgeAfter": "1ms"})).as_deref(),
            Some("spec.routing.hedgeAfter: 1 is outside 10 to 600000 milliseconds")
        );
        let unknown = json!({"urgencies": [{"urgency": "Low", "match": {"models": ["ghost"]}}]});
        assert_eq!(
            message(unknown).as_deref(),
            Some(
                "spec.routing.urgencies[0].match.models[0]: no backend has a model that clients call \"ghost\""
            )
        );
    }
}
