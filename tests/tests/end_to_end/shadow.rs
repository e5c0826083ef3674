//! A new policy that replicas compare with the one in force, before it is put in force.

use crate::served::{Service, metrics, select};
use crate::support::eventually;
use serde_json::{Value, json};

impl Service {
    fn policy(&self) -> Value {
        self.namespace.get("codecrucible/demo").unwrap_or_default()["status"]["policy"].clone()
    }

    /// The revisions that replicas are given: the one in force, and the one to compare.
    fn handed_out(&self) -> Option<[Value; 2]> {
        let data = self.namespace.get("configmap/demo-policy")?["data"].clone();
        let revision = |file: &str| -> Option<Value> {
            let document: Value = serde_json::from_str(data[file].as_str()?).ok()?;
            Some(document["revision"].clone())
        };
        Some([revision("bundle.json")?, revision("shadow.json").unwrap_or_default()])
    }
}

#[test]
fn a_new_policy_in_shadow_changes_nothing_tells_wherein_it_differs_and_is_then_put_in_force() {
    let service = Service::start("shadowed", 2);
    let namespace = &service.namespace;
    let first = service.policy()["revision"].clone();
    select(namespace, &json!({"policy": {"mode": "Shadow"}}));
    // Under the new policy, clients would know the model by another name.
    let renamed = json!({"spec": {"models": [{"name": "coder", "alias": "other"}]}}).to_string();
    namespace.kubectl(&["patch", "modelbackend", "remote", "--type=merge", "-p", &renamed]).unwrap();
    eventually("both replicas compare it", || service.policy()["shadow"]["appliedReplicas"] == 2);
    let shadow = service.policy()["shadow"]["revision"].clone();
    assert!(shadow.as_str().unwrap().starts_with("2-"), "{shadow}");
    assert_eq!(service.policy()["revision"], first);
    assert_eq!((service.policy()["appliedReplicas"].as_i64(), service.chat()), (Some(2), 502));
    let told = metrics(namespace).concat();
    let counted = "codecrucible_policy_shadow_comparisons_total{action=\"complete\",difference=\"route\"} 1";
    assert!(told.contains(counted), "{told}");
    eventually("the status tells of it", || service.policy()["shadow"]["differingReplicas"] == 1);
    let told = namespace.wait_for("demo", "PolicySynced", "True/Applied");
    assert!(told.ends_with("and 1 saw it differ"), "{told}");

    // Nobody puts it in force by what replicas read.
    let both = [first.clone(), shadow.clone()];
    namespace.kubectl(&["delete", "configmap", "demo-policy"]).unwrap();
    eventually("they are given the same again", || service.handed_out() == Some(both.clone()));
    let document = namespace.get("configmap/demo-policy").unwrap()["data"]["shadow.json"].clone();
    let swapped = json!({"data": {"bundle.json": document}}).to_string();
    namespace.kubectl(&["patch", "configmap", "demo-policy", "--type=merge", "-p", &swapped]).unwrap();
    eventually("they are given the same again", || service.handed_out() == Some(both.clone()));

    select(namespace, &json!({"policy": {"mode": "Enforce"}}));
    eventually("it is in force", || {
        service.policy()["revision"] == shadow && service.policy()["appliedReplicas"] == 2
    });
    assert_eq!(service.policy()["shadow"], Value::Null);
    assert_eq!(service.chat(), 404);
}
