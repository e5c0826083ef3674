//! JSON schemas of all that an API server serves, strict: a field that is not in them is refused. A tool that knows nothing of the
//! cluster judges manifests by them.

use codecrucible_tests::cluster::Cluster;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const GROUPS_AND_KINDS: &str = "x-kubernetes-group-version-kind";
/// Where kubeconform finds the schema of a kind; the group of the oldest kinds is their version.
const LOCATION: &str = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json";

/// A folder of schemas, which goes with it.
pub struct Schemas {
    folder: PathBuf,
}

impl Schemas {
    /// Of these kinds, as an API server serves them.
    pub fn of(cluster: &Cluster, kinds: &[&str]) -> Self {
        let served = cluster.kubectl().unwrap().args(["get", "--raw", "/openapi/v2"]).output().unwrap();
        let served: Value = serde_json::from_slice(&served.stdout).unwrap();
        let mut definitions = served["definitions"].clone();
        strict(&mut definitions);
        let folder = std::env::temp_dir().join(format!("codecrucible-schemas-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, definition) in definitions.as_object().unwrap() {
            for served_as in definition[GROUPS_AND_KINDS].as_array().into_iter().flatten() {
                let text = |key: &str| served_as[key].as_str().unwrap_or_default();
                if kinds.contains(&text("kind")) {
                    let group = if text("group").is_empty() { text("version") } else { text("group") };
                    let file = format!("{}-{group}-{}.json", text("kind").to_lowercase(), text("version"));
                    let schema = json!({"$ref": format!("#/definitions/{name}"), "definitions": definitions});
                    fs::write(folder.join(file), schema.to_string()).unwrap();
                }
            }
        }
        Self { folder }
    }

    /// What kubeconform says of manifests, and whether it finds nothing wrong.
    pub fn judge(&self, cluster: &Cluster, yaml: &str) -> (bool, String) {
        let mut command: Command = cluster.kubeconform().unwrap();
        command.args(["-strict", "-summary", "-output", "text", "-schema-location"]);
        command.arg(self.folder.join(LOCATION)).arg("-");
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut running.stdin.take().unwrap(), yaml.as_bytes()).unwrap();
        let told = running.wait_with_output().unwrap();
        (told.status.success(), String::from_utf8_lossy(&told.stdout).trim().to_owned())
    }
}

impl Drop for Schemas {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(Path::new(&self.folder)));
    }
}

/// Closes every object whose fields are known, and lets numbers be where the API server takes them for text.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(strict);
            close(object);
            let is_either = object.get("format").is_some_and(|format| format == "int-or-string")
                || object.get("x-kubernetes-int-or-string").is_some_and(|is_either| is_either == true);
            if is_either {
                object.remove("format");
                object.insert("type".into(), json!(["integer", "string"]));
            }
            if let Some(quantity) = object.get_mut("io.k8s.apimachinery.pkg.api.resource.Quantity") {
                quantity["type"] = json!(["number", "string"]);
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(strict),
        _ => {}
    }
}

fn close(object: &mut Map<String, Value>) {
    let is_open = object.get("x-kubernetes-preserve-unknown-fields").is_some_and(|is_open| is_open == true);
    // Among the fields of a kind may be one of this name, which is a schema and not a map of them.
    let fields = object.get("properties").and_then(Value::as_object);
    let has_fields = fields.is_some_and(|fields| fields.values().all(Value::is_object));
    if has_fields && !is_open && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".into(), false.into());
    }
}
