//! Which clients of applications a service lets in, of all that ask.

use crate::agreement::{MAX_CLIENTS_OF_NAMESPACE, lets_in};
use crate::service::child::Child;
use crate::service::observe::Observed;
use codecrucible_contract::{Clients, MAX_CLIENTS, RegisteredClient, layout};
use codecrucible_crds::{CodeCrucible, SynthesisClient};
use kube::ResourceExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Those that are let in. While it is not known who asks, all stay that are.
pub(super) fn admitted(resource: &CodeCrucible, observed: &Observed) -> Clients {
    let Some(asking) = &observed.asking else { return registered(observed).unwrap_or_default() };
    let mut admitted: Vec<_> = asking.iter().filter(|client| is_admitted(resource, client)).collect();
    // Those of its own namespace and those who were first stay, should there be too many.
    admitted.sort_by_key(|client| {
        let is_foreign = client.namespace() != resource.namespace();
        (is_foreign, client.creation_timestamp(), client.namespace(), client.name_any())
    });
    let mut of_namespace: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let registered_ones = admitted.into_iter().filter_map(|client| {
        let registered = registration(client)?;
        let count = of_namespace.entry(client.namespace()).or_default();
        *count += 1;
        (*count <= MAX_CLIENTS_OF_NAMESPACE).then_some(registered)
    });
    // Each of them is one, and no two have the same name: should that be wrong, nobody is thrown out.
    Clients::new(registered_ones.take(MAX_CLIENTS))
        .unwrap_or_else(|_| registered(observed).unwrap_or_default())
}

/// Those that stay of the ones that are handed out, if some must go: also while the resource is wrong, nobody is let in who
/// was thrown out.
pub(crate) fn withdrawn(resource: &CodeCrucible, observed: &Observed) -> Option<Clients> {
    let (registered, admitted) = (registered(observed)?, admitted(resource, observed));
    let stay =
        registered.iter().filter(|(id, secret_sha256)| admitted.secret_sha256(id) == Some(secret_sha256));
    let stay = stay.map(|(id, hash)| RegisteredClient { id: id.to_owned(), secret_sha256: hash.to_owned() });
    Clients::new(stay).ok().filter(|stay| stay.len() < registered.len())
}

/// What is handed out.
pub(crate) fn registered(observed: &Observed) -> Option<Clients> {
    Clients::parse(observed.data(Child::RegisteredClients, layout::CLIENTS_FILE)?.as_bytes()).ok()
}

fn is_admitted(resource: &CodeCrucible, client: &Arc<SynthesisClient>) -> bool {
    client.metadata.deletion_timestamp.is_none()
        && client.target() == (resource.namespace(), resource.name_any())
        && lets_in(resource, client.namespace().as_deref())
}

/// Nothing before the operator has made its secret, and while it is refused.
fn registration(client: &Arc<SynthesisClient>) -> Option<RegisteredClient> {
    let status = client.status.as_ref()?;
    let registered = RegisteredClient { id: client.id(), secret_sha256: status.secret_sha256.clone()? };
    // One that is no client must not keep the others out.
    Clients::new([registered.clone()]).is_ok().then_some(registered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixtures;
    use serde_json::{Value, json};

    fn client(namespace: &str, target: Value, secret_sha256: Option<&str>) -> Arc<SynthesisClient> {
        let mut client =
            SynthesisClient::new("app", serde_json::from_value(json!({"targetRef": target})).unwrap());
        client.metadata.namespace = Some(namespace.into());
        client.status = Some(serde_json::from_value(json!({"secretSha256": secret_sha256})).unwrap());
        Arc::new(client)
    }

    fn let_in(asking: &[Arc<SynthesisClient>]) -> Vec<String> {
        let resource = fixtures::resource(json!({"clients": {"allowedNamespaces": ["apps"]}}));
        let observed = Observed { asking: Some(asking.to_vec()), ..fixtures::observed() };
        admitted(&resource, &observed).iter().map(|(id, _)| id.to_owned()).collect()
    }

    #[test]
    fn its_own_and_allowed_namespaces_are_let_in_and_no_others() {
        let hash = "0".repeat(64);
        let there = json!({"name": "demo", "namespace": "team"});
        let asking = [
            client("team", json!({"name": "demo"}), Some(&hash)),
            client("apps", there.clone(), Some(&hash)),
            client("other", there, Some(&hash)),
            client("apps", json!({"name": "demo"}), Some(&hash)),
        ];
        assert_eq!(let_in(&asking), ["apps.app", "team.app"]);
    }

    #[test]
    fn no_namespace_takes_all_the_room() {
        let many = |index: usize| {
            let mut one = SynthesisClient::clone(&client(
                "apps",
                json!({"name": "demo", "namespace": "team"}),
                Some(&"0".repeat(64)),
            ));
            one.metadata.name = Some(format!("app-{index}"));
            Arc::new(one)
        };
        let mut asking: Vec<_> = (0..=MAX_CLIENTS_OF_NAMESPACE).map(many).collect();
        // Those that have no secret yet take no room.
        asking.insert(0, client("apps", json!({"name": "demo", "namespace": "team"}), None));
        asking.push(client("team", json!({"name": "demo"}), Some(&"0".repeat(64))));
        let let_in = let_in(&asking);
        assert_eq!(let_in.len(), MAX_CLIENTS_OF_NAMESPACE + 1);
        assert!(let_in.contains(&"team.app".to_owned()));
    }

    #[test]
    fn one_without_a_secret_or_with_a_forged_hash_keeps_nobody_out() {
        let good = client("team", json!({"name": "demo"}), Some(&"0".repeat(64)));
        let mut other = SynthesisClient::clone(&client("team", json!({"name": "demo"}), Some("forged")));
        other.metadata.name = Some("forged".into());
        assert_eq!(let_in(&[Arc::new(other), good]), ["team.app"]);
        assert_eq!(let_in(&[client("team", json!({"name": "demo"}), None)]), [""; 0]);
    }

    #[test]
    fn who_was_thrown_out_goes_and_who_is_new_waits() {
        let (old, new) = ("0".repeat(64), "1".repeat(64));
        let one = |id: &str, hash: &str| RegisteredClient { id: id.into(), secret_sha256: hash.into() };
        let mut observed = with_registered([one("team.app", &old), one("apps.app", &old)]);
        let resource = fixtures::resource(json!({"clients": {"allowedNamespaces": ["apps"]}}));
        let there = json!({"name": "demo", "namespace": "team"});
        let mut stay = |asking: Vec<Arc<SynthesisClient>>| {
            observed.asking = Some(asking);
            let stay = withdrawn(&resource, &observed)?;
            Some(stay.iter().map(|(id, _)| id.to_owned()).collect::<Vec<_>>())
        };
        let (near, far) =
            (client("team", json!({"name": "demo"}), Some(&old)), client("apps", there.clone(), Some(&old)));
        assert_eq!(stay(vec![near.clone(), far]), None, "nobody goes");
        assert_eq!(stay(vec![near.clone()]), Some(vec!["team.app".to_owned()]));
        let renewed = client("apps", there, Some(&new));
        assert_eq!(stay(vec![near, renewed]), Some(vec!["team.app".to_owned()]), "with the old secret");
    }

    fn with_registered(clients: impl IntoIterator<Item = RegisteredClient>) -> Observed {
        let known = Clients::new(clients).unwrap();
        let mut object = crate::conventions::secret([(layout::CLIENTS_FILE, &*known.to_json())]);
        object["apiVersion"] = "v1".into();
        object["kind"] = "Secret".into();
        object["metadata"] = json!({"name": "s"});
        let mut observed = fixtures::observed();
        observed.children.insert(Child::RegisteredClients, serde_json::from_value(object).unwrap());
        observed
    }

    #[test]
    fn while_nobody_knows_who_asks_all_stay() {
        let one = RegisteredClient { id: "a.b".into(), secret_sha256: "0".repeat(64) };
        let (known, observed) = (Clients::new([one.clone()]).unwrap(), with_registered([one]));
        assert_eq!(withdrawn(&fixtures::resource(json!({})), &observed), None);
        assert_eq!(admitted(&fixtures::resource(json!({})), &observed), known);
    }
}
