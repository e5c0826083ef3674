//! Whether the service is reached from outside the cluster, from what the Ingress and the route tell of themselves.

use crate::conventions::{Verdict, shortened, verdict};
use crate::service::child::Child;
use crate::service::observe::Observed;
use crate::service::outcome::Outcome;
use codecrucible_crds::{CodeCrucible, GatewayReference, conditions as names};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::Value;
use std::time::Duration;

/// How often is asked whether the cluster serves the Gateway API by now, seconds: nobody tells.
const UNSERVED_SECONDS: u64 = 60;

/// Nothing where nobody asks for it. What is not so is said first.
pub(super) fn exposed(resource: &CodeCrucible, observed: &Observed, outcome: &Outcome) -> Option<Verdict> {
    if let Outcome::Applied(applied) = outcome
        && let Some(error) = &applied.barred
    {
        return Some(verdict(false, names::REASON_APPLY_FAILED, shortened(&error.to_string())));
    }
    let told = [Child::Ingress, Child::Route, Child::RouteTrust]
        .into_iter()
        .filter(|child| child.is_wanted(resource))
        .map(|child| told_of(child, resource, observed, outcome));
    let (well, not): (Vec<_>, Vec<_>) = told.partition(|verdict| verdict.is_true);
    not.into_iter().next().or_else(|| {
        let messages: Vec<_> = well.into_iter().map(|verdict| verdict.message).collect();
        (!messages.is_empty()).then(|| verdict(true, names::REASON_ROUTED, messages.join("; ")))
    })
}

/// The longest time until the next look.
pub(super) fn look_again(observed: &Observed) -> Duration {
    if observed.unserved.is_empty() { Duration::MAX } else { Duration::from_secs(UNSERVED_SECONDS) }
}

fn told_of(child: Child, resource: &CodeCrucible, observed: &Observed, outcome: &Outcome) -> Verdict {
    let kind = child.kind();
    if observed.unserved.contains(&child) {
        let message = format!(
            "the cluster does not serve {kind} of gateway.networking.k8s.io/v1; install Gateway API 1.4 or newer"
        );
        return verdict(false, names::REASON_API_NOT_SERVED, message);
    }
    // What was written only now has not been seen by anybody.
    let is_new = matches!(outcome, Outcome::Applied(applied) if applied.written.contains(&child));
    let Some(object) = observed.children.get(&child).filter(|_| !is_new) else { return awaiting(kind) };
    match child {
        Child::Ingress => of_ingress(object),
        Child::Route => of_route(resource, object),
        _ => of_trust(object),
    }
}

fn awaiting(kind: &str) -> Verdict {
    verdict(false, names::REASON_AWAITING_CONTROLLER, format!("no controller has taken the {kind} on yet"))
}

fn of_ingress(object: &DynamicObject) -> Verdict {
    let points = object.data["status"]["loadBalancer"]["ingress"].as_array();
    let addresses = points.into_iter().flatten().filter_map(|point| {
        let address = ["ip", "hostname"].into_iter().find_map(|key| point[key].as_str());
        address.filter(|address| !address.is_empty())
    });
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return awaiting("Ingress");
    }
    let message = format!("the Ingress is served at {}", addresses.join(", "));
    verdict(true, names::REASON_ROUTED, shortened(&message))
}

/// Every Gateway must have taken it on as it is now, and found the service.
fn of_route(resource: &CodeCrucible, object: &DynamicObject) -> Verdict {
    let gateways = resource.spec.network.route.iter().flat_map(|route| &route.gateways);
    let gateways: Vec<_> = gateways.collect();
    let parents = object.data["status"]["parents"].as_array();
    for gateway in &gateways {
        let states = parents.into_iter().flatten().filter(|state| is_of(state, gateway, resource));
        // Each controller that acts on it has a state of its own.
        let states: Vec<_> = states.collect();
        if states.is_empty() {
            return awaiting(&format!("HTTPRoute from Gateway {:?}", gateway.name));
        }
        for (state, type_) in
            states.iter().flat_map(|state| ["Accepted", "ResolvedRefs"].map(|type_| (state, type_)))
        {
            if let Some(refused) = failing(object, &state["conditions"], type_, &gateway.name) {
                return refused;
            }
        }
    }
    let named: Vec<_> = gateways.iter().map(|gateway| gateway.name.as_str()).collect();
    verdict(true, names::REASON_ROUTED, format!("the HTTPRoute is taken on by Gateway {}", named.join(", ")))
}

fn is_of(state: &Value, gateway: &GatewayReference, resource: &CodeCrucible) -> bool {
    let parent = &state["parentRef"];
    let own = resource.namespace();
    let namespace = |given: Option<&str>| given.or(own.as_deref()).map(str::to_owned);
    parent["name"] == *gateway.name
        && parent["sectionName"].as_str() == gateway.section_name.as_deref()
        && namespace(parent["namespace"].as_str()) == namespace(gateway.namespace.as_deref())
}

/// Some gateways never tell of whom they trust, and act on it.
fn of_trust(object: &DynamicObject) -> Verdict {
    for state in object.data["status"]["ancestors"].as_array().into_iter().flatten() {
        let gateway = state["ancestorRef"]["name"].as_str().unwrap_or_default();
        if let Some(refused) = failing(object, &state["conditions"], "Accepted", gateway) {
            return refused;
        }
    }
    verdict(true, names::REASON_ROUTED, "no Gateway objects to the BackendTLSPolicy")
}

/// What is wrong with a condition, unless it is true of the object as it is now.
fn failing(object: &DynamicObject, conditions: &Value, type_: &str, gateway: &str) -> Option<Verdict> {
    let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str());
    let mut conditions = conditions.as_array().into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == type_);
    let of_now = found.filter(|condition| {
        condition["observedGeneration"].is_null()
            || condition["observedGeneration"].as_i64() == object.metadata.generation
    });
    let Some(condition) = of_now else { return Some(awaiting(&format!("{kind} from Gateway {gateway:?}"))) };
    if condition["status"] == "True" {
        return None;
    }
    let said = condition["message"].as_str().unwrap_or_default();
    let reason = condition["reason"].as_str().unwrap_or_default();
    let message = format!("Gateway {gateway:?} refuses the {kind}: {type_} is not true, {reason}: {said}");
    Some(verdict(false, names::REASON_REFUSED, shortened(&message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::apply::{Applied, ApplyError};
    use crate::service::fixtures;
    use serde_json::json;

    fn observe(child: Child, mut object: Value) -> Observed {
        let api = child.api_resource();
        object["apiVersion"] = json!(api.api_version);
        object["kind"] = json!(api.kind);
        let mut observed = fixtures::observed();
        observed.children.insert(child, serde_json::from_value(object).unwrap());
        observed
    }

    fn told(network: Value, observed: &Observed) -> Option<(bool, &'static str)> {
        let plain = json!({"profile": "Development", "tls": {"mode": "Disabled"}, "network": network});
        told_after(plain, observed, &Outcome::Paused)
    }

    fn told_after(spec: Value, observed: &Observed, outcome: &Outcome) -> Option<(bool, &'static str)> {
        let verdict = exposed(&fixtures::resource(spec), observed, outcome)?;
        Some((verdict.is_true, verdict.reason))
    }

    fn applied(written: &[Child], barred: Option<ApplyError>) -> Outcome {
        let written = written.iter().copied().collect();
        let publication = fixtures::publication();
        Outcome::Applied(Box::new(Applied { publication, deployment: None, written, barred }))
    }

    /// An Ingress that has an address.
    fn served() -> Observed {
        let points = json!([{"ip": "192.0.2.1"}]);
        let object = json!({"metadata": {"name": "demo"}, "status": {"loadBalancer": {"ingress": points}}});
        observe(Child::Ingress, object)
    }

    #[test]
    fn what_was_written_only_now_nobody_has_seen_yet() {
        let spec = || json!({"network": {"ingress": {"hosts": ["a.example"]}}});
        let told = |written: &[Child]| told_after(spec(), &served(), &applied(written, None));
        assert_eq!(told(&[Child::Route]), Some((true, "Routed")));
        assert_eq!(told(&[Child::Ingress]), Some((false, "AwaitingController")));
    }

    #[test]
    fn a_way_that_the_api_server_does_not_take_is_told_of() {
        let spec = json!({"network": {"ingress": {"hosts": ["a..example"]}}});
        let status = kube::core::Status { code: 422, ..kube::core::Status::default() };
        let error = ApplyError::new("Ingress", "demo", kube::Error::Api(status.boxed()));
        let told = told_after(spec, &served(), &applied(&[], Some(error)));
        assert_eq!(told, Some((false, "ApplyFailed")));
    }

    #[test]
    fn a_gateway_that_refuses_whom_to_trust_leads_nowhere() {
        let spec = || json!({"network": {"route": {"gateways": [{"name": "a"}]}}});
        let condition = |type_, status| json!({"type": type_, "status": status, "observedGeneration": 1});
        let with = |ancestors: Value| {
            let conditions = [condition("Accepted", "True"), condition("ResolvedRefs", "True")];
            let parents = json!([{"parentRef": {"name": "a"}, "conditions": conditions}]);
            let metadata = || json!({"name": "demo", "generation": 1});
            let route = json!({"metadata": metadata(), "status": {"parents": parents}});
            let trust = json!({"metadata": metadata(), "status": {"ancestors": ancestors}});
            let mut observed = observe(Child::Route, route);
            observed.children.extend(observe(Child::RouteTrust, trust).children);
            told_after(spec(), &observed, &applied(&[], None))
        };
        assert_eq!(with(json!([])), Some((true, "Routed")), "some gateways never tell");
        let refused = json!([{"ancestorRef": {"name": "a"}, "conditions": [condition("Accepted", "False")]}]);
        assert_eq!(with(refused), Some((false, "Refused")));
    }

    #[test]
    fn every_controller_that_acts_on_a_route_must_have_taken_it_on() {
        let spec = json!({"profile": "Development", "tls": {"mode": "Disabled"}, "network": {"route": {"gateways": [{"name": "a"}]}}});
        let state = |status| {
            let condition = |type_| json!({"type": type_, "status": status});
            json!({"parentRef": {"name": "a"}, "conditions": [condition("Accepted"), condition("ResolvedRefs")]})
        };
        let states = json!([state("True"), state("False")]);
        let route = json!({"metadata": {"name": "demo"}, "status": {"parents": states}});
        let told = told_after(spec, &observe(Child::Route, route), &Outcome::Paused);
        assert_eq!(told, Some((false, "Refused")));
    }

    #[test]
    fn nothing_is_said_where_nobody_asks() {
        assert_eq!(told(json!({}), &fixtures::observed()), None);
    }

    #[test]
    fn an_ingress_counts_once_it_has_an_address() {
        let network = || json!({"ingress": {"hosts": ["a.example"]}});
        assert_eq!(told(network(), &fixtures::observed()), Some((false, "AwaitingController")));
        let with = |points: Value| {
            let object =
                json!({"metadata": {"name": "demo"}, "status": {"loadBalancer": {"ingress": points}}});
            told(network(), &observe(Child::Ingress, object))
        };
        assert_eq!(with(json!([])), Some((false, "AwaitingController")));
        assert_eq!(with(json!([{"hostname": ""}])), Some((false, "AwaitingController")));
        assert_eq!(told(network(), &served()), Some((true, "Routed")));
    }

    #[test]
    fn a_route_counts_when_each_gateway_has_taken_it_on_as_it_is_now() {
        let network = || json!({"route": {"gateways": [{"name": "a"}, {"name": "b", "namespace": "gates"}]}});
        let state = |name: &str, namespace: &str, generation: i64, resolved: &str| {
            let condition =
                |type_, status| json!({"type": type_, "status": status, "observedGeneration": generation});
            json!({"parentRef": {"name": name, "namespace": namespace},
                   "conditions": [condition("Accepted", "True"), condition("ResolvedRefs", resolved)]})
        };
        let with = |states: Value| {
            let metadata = json!({"name": "demo", "generation": 2});
            let object = json!({"metadata": metadata, "status": {"parents": states}});
            told(network(), &observe(Child::Route, object))
        };
        let a = || state("a", "team", 2, "True");
        assert_eq!(with(json!([a()])), Some((false, "AwaitingController")));
        assert_eq!(with(json!([a(), state("b", "other", 2, "True")])), Some((false, "AwaitingController")));
        assert_eq!(with(json!([a(), state("b", "gates", 1, "True")])), Some((false, "AwaitingController")));
        assert_eq!(with(json!([a(), state("b", "gates", 2, "False")])), Some((false, "Refused")));
        assert_eq!(with(json!([a(), state("b", "gates", 2, "True")])), Some((true, "Routed")));
    }

    #[test]
    fn a_cluster_without_the_api_is_asked_again() {
        let mut observed = fixtures::observed();
        assert_eq!(look_again(&observed), Duration::MAX);
        observed.unserved.insert(Child::Route);
        let network = json!({"route": {"gateways": [{"name": "a"}]}});
        assert_eq!(told(network, &observed), Some((false, "ApiNotServed")));
        assert_eq!(look_again(&observed), Duration::from_secs(60));
    }
}
