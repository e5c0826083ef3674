//! What the pods mount: each object in the folder of its name, and of an object only what we made (what else somebody puts
//! into a Secret is neither a key nor for the pod to see), models, and room for answers.

use crate::service::child::Child;
use crate::service::pod::{ANSWERS_FOLDER, CONFIGURATION_FOLDER, DISK_RESERVE_BYTES, MODELS_FOLDER};
use crate::service::quantity::bytes;
use codecrucible_contract::layout;
use codecrucible_crds::CodeCrucible;
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// The volume of answers that a pod keeps.
pub(super) const ANSWERS: &str = "answers";

/// An object in a folder.
struct Mount {
    /// Below the configuration's folder; the volume's name too.
    folder: &'static str,
    child: Child,
    /// The keys that become files; all, if none is named.
    keys: &'static [&'static str],
}

/// All of them; a change of their order would replace every pod.
const MOUNTS: [Mount; 6] = [
    Mount { folder: layout::POLICY_FOLDER, child: Child::Policy, keys: &[] },
    Mount {
        folder: layout::SIGNING_KEYS_FOLDER,
        child: Child::SigningKeys,
        keys: &[layout::FIRST_SIGNING_KEY_FILE],
    },
    Mount {
        folder: layout::CLIENT_FOLDER,
        child: Child::OwnClient,
        keys: &[layout::CLIENT_ID_FILE, layout::CLIENT_SECRET_FILE],
    },
    Mount { folder: layout::CLIENTS_FOLDER, child: Child::RegisteredClients, keys: &[layout::CLIENTS_FILE] },
    Mount { folder: layout::BACKEND_CREDENTIALS_FOLDER, child: Child::BackendCredentials, keys: &[] },
    Mount {
        folder: layout::CERTIFICATE_FOLDER,
        child: Child::Certificate,
        keys: &[layout::CERTIFICATE_FILE, layout::CERTIFICATE_KEY_FILE, layout::AUTHORITY_FILE],
    },
];

/// The Secrets among them.
pub(super) fn secrets() -> impl Iterator<Item = Child> {
    MOUNTS.iter().map(|mount| mount.child).filter(|child| child.kind() == "Secret")
}

/// Volumes by name; `model_claims` are claims by the backend whose model is on them.
pub(super) fn volumes(resource: &CodeCrucible, model_claims: &[(String, String)]) -> Value {
    let configuration = MOUNTS.iter().map(|mount| mount.volume(resource));
    let models = model_claims.iter().enumerate().map(|(index, (_, claim))| {
        json!({"name": model_volume(index), "persistentVolumeClaim": {"claimName": claim, "readOnly": true}})
    });
    let own = given_certificate(resource).into_iter().chain(answers(resource)).map(|(volume, _)| volume);
    configuration.chain(models).chain(own).collect()
}

/// Where each of the volumes is.
pub(super) fn mounts(resource: &CodeCrucible, model_claims: &[(String, String)]) -> Value {
    let configuration = MOUNTS.iter().map(|Mount { folder, .. }| {
        json!({"name": folder, "mountPath": format!("{CONFIGURATION_FOLDER}/{folder}"), "readOnly": true})
    });
    let models = model_claims.iter().enumerate().map(|(index, (backend, _))| {
        json!({"name": model_volume(index), "mountPath": format!("{MODELS_FOLDER}/{backend}"), "readOnly": true})
    });
    let own = given_certificate(resource).into_iter().chain(answers(resource)).map(|(_, mount)| mount);
    configuration.chain(models).chain(own).collect()
}

/// The volume of a certificate that somebody gave, and where it is. No pod sees what else is in its Secret.
fn given_certificate(resource: &CodeCrucible) -> Option<(Value, Value)> {
    let name = resource.spec.tls.given_secret(&resource.name_any())?;
    let folder = layout::PUBLIC_CERTIFICATE_FOLDER;
    let items =
        [layout::CERTIFICATE_FILE, layout::CERTIFICATE_KEY_FILE].map(|key| json!({"key": key, "path": key}));
    Some((
        json!({"name": folder, "secret": {"secretName": name, "defaultMode": 0o440, "items": items}}),
        json!({"name": folder, "mountPath": format!("{CONFIGURATION_FOLDER}/{folder}"), "readOnly": true}),
    ))
}

/// The volume of the answers that a pod keeps on its node's disk, and where it is.
fn answers(resource: &CodeCrucible) -> Option<(Value, Value)> {
    let most = disk_bytes(resource)?.saturating_add(DISK_RESERVE_BYTES);
    Some((
        json!({"name": ANSWERS, "emptyDir": {"sizeLimit": most.to_string()}}),
        json!({"name": ANSWERS, "mountPath": ANSWERS_FOLDER}),
    ))
}

/// How much of its node's disk a pod keeps answers on, bytes.
pub(super) fn disk_bytes(resource: &CodeCrucible) -> Option<u64> {
    bytes(resource.spec.cache.as_ref()?.disk.as_ref()?)
}

impl Mount {
    fn volume(&self, resource: &CodeCrucible) -> Value {
        let name = self.child.name(resource);
        let (source, mut object) = if self.child.kind() == "Secret" {
            ("secret", json!({"secretName": name, "defaultMode": 0o440}))
        } else {
            ("configMap", json!({"name": name, "defaultMode": 0o444}))
        };
        if !self.keys.is_empty() {
            object["items"] = self.keys.iter().map(|key| json!({"key": key, "path": key})).collect();
        }
        json!({"name": self.folder, source: object})
    }
}

/// Backends' names may be longer than a volume's name may be.
fn model_volume(index: usize) -> String {
    format!("model-{index}")
}
