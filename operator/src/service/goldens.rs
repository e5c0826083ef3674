//! What is made of a resource, whole, as files: a change of what the operator renders shows as a change of them.
//!
//! Each folder of `operator/goldens` has what a person applies (`input.yaml`) and what comes of it (`objects.yaml`), with the
//! secrets of [`fixtures`]. Where something else ran well before (`before.yaml`), what is not made anew is not in it. `make goldens`
//! writes it anew.

use super::child::Child;
use super::decision::{Decision, accept};
use super::desired::{Prepared, wanted_template};
use super::fixtures;
use super::observe::Observed;
use codecrucible_contract::canonical;
use codecrucible_crds::{AccessPolicy, CodeCrucible, ModelBackend, SynthesisClient};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tells to write what comes of the inputs, instead of comparing it.
const REFRESH: &str = "REFRESH_GOLDENS";
const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// What a person applies.
struct Input {
    resource: CodeCrucible,
    observed: Observed,
}

impl Input {
    fn of(folder: &Path) -> Self {
        let mut input = Self::read(&folder.join("input.yaml"));
        let before = folder.join("before.yaml");
        if before.exists() {
            input.follow(&Self::read(&before));
        }
        input
    }

    /// Has replicas serve well that were made from something before.
    fn follow(&mut self, before: &Self) {
        let Ok(validated) = accept(&before.resource, &before.observed) else { panic!("it is refused") };
        self.observed.last_good = Some(wanted_template(&before.resource, &validated));
        let deployment =
            before.made().into_iter().find(|prepared| prepared.child == Child::Deployment).unwrap();
        let mut live: DynamicObject = serde_json::from_value(deployment.object).unwrap();
        let replicas = before.resource.spec.replicas;
        live.data["status"] = json!({"replicas": replicas, "availableReplicas": replicas});
        self.observed.children.insert(Child::Deployment, live);
    }

    fn read(file: &Path) -> Self {
        let yaml = std::fs::read_to_string(file).unwrap();
        let (mut resource, mut backends) = (None, BTreeMap::new());
        let (mut clients, mut access) = (Vec::new(), Vec::new());
        for document in serde_yaml::Deserializer::from_str(&yaml) {
            let object = Value::deserialize(document).unwrap();
            match object["kind"].as_str().unwrap() {
                "CodeCrucible" => resource = Some(serde_json::from_value::<CodeCrucible>(object).unwrap()),
                "ModelBackend" => {
                    let backend: ModelBackend = serde_json::from_value(object).unwrap();
                    backends.insert(backend.name_any(), backend);
                }
                "SynthesisClient" => {
                    clients.push(Arc::new(serde_json::from_value::<SynthesisClient>(object).unwrap()));
                }
                "AccessPolicy" => {
                    access.push(Arc::new(serde_json::from_value::<AccessPolicy>(object).unwrap()));
                }
                other => panic!("{}: a {other} is no input", file.display()),
            }
        }
        let mut resource = resource.expect("a CodeCrucible");
        resource.metadata.uid = Some("00000000-0000-0000-0000-000000000000".into());
        let needs_one = |(name, backend): (&String, &ModelBackend)| {
            backend.spec.credentials_secret_ref.as_ref()?;
            Some((name.clone(), Ok("token".to_owned())))
        };
        let credentials = backends.iter().filter_map(needs_one).collect();
        let observed = Observed {
            access,
            asking: Some(clients),
            store_passwords: resource
                .spec
                .store_passwords()
                .map(|(at, _)| (at, Ok("password".to_owned())))
                .collect(),
            ..Observed::of_names(backends, credentials, "codecrucible-system")
        };
        Self { resource, observed }
    }

    /// Everything that is made, in the order of making.
    fn made(&self) -> Vec<Prepared> {
        let Self { resource, observed } = self;
        let validated = match accept(resource, observed) {
            Ok(validated) => validated,
            Err(_) => panic!("{} is refused", resource.name_any()),
        };
        let decision = Decision::make(resource, validated, &fixtures::facts(), observed, true, NOW);
        let Decision::Apply(plan) = decision else { panic!("nothing is made") };
        plan.changes
    }

    fn objects(&self) -> String {
        let yaml = |object: &Value| {
            // Sorted, whatever order maps have in this build.
            let sorted: BTreeMap<String, serde_yaml::Value> =
                serde_json::from_str(&canonical(object)).unwrap();
            format!("---\n{}", serde_yaml::to_string(&sorted).unwrap())
        };
        self.made().iter().map(|prepared| yaml(&prepared.object)).collect()
    }
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens");
    let mut folders: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[test]
fn what_is_made_of_each_input_is_as_it_was() {
    let (folders, is_refreshed) = (folders(), std::env::var_os(REFRESH).is_some());
    assert!(folders.len() > 4, "{folders:?}");
    for folder in folders {
        let (objects, golden) = (Input::of(&folder).objects(), folder.join("objects.yaml"));
        if is_refreshed {
            std::fs::write(&golden, &objects).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let differs = expected.lines().zip(objects.lines()).find(|(expected, made)| expected != made);
        assert!(
            expected == objects,
            "{} is not what is made now; see `make goldens`. First difference: {differs:?}",
            golden.display()
        );
    }
}

#[test]
fn together_they_show_every_child() {
    let made = folders().into_iter().flat_map(|folder| Input::of(&folder).made());
    let children: BTreeSet<Child> = made.map(|prepared| prepared.child).collect();
    assert_eq!(children, BTreeSet::from(Child::ALL));
}
