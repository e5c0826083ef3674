//! The policies that a service was given: which are kept, how they differ, and how to go back to one.

use super::paint::{Paint, harmless};
use crate::service::{KeptPolicy, SHADOW, kept_policies, kept_policy};
use anyhow::Context as _;
use codecrucible_contract::Bundle;
use codecrucible_crds::{CodeCrucible, names};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What lets a service follow its resource again.
const NONE: &str = "none";

pub(super) async fn history(
    client: &Client,
    api: &Api<CodeCrucible>,
    name: &str,
    paint: Paint,
) -> anyhow::Result<String> {
    let resource = api.get(name).await?;
    let current = resource.status.as_ref().and_then(|status| status.policy.as_ref());
    let mut text = String::new();
    for KeptPolicy { revision, made_at } in kept_policies(client, &resource).await? {
        let is_current = current.is_some_and(|current| current.revision == revision);
        let mark = if is_current { paint.good("*") } else { " ".into() };
        let made_at = made_at.map_or_else(String::new, |time| time.to_string());
        writeln!(text, "{mark} {revision}  {made_at}")?;
    }
    Ok(text)
}

pub(super) async fn diff(
    client: &Client,
    api: &Api<CodeCrucible>,
    name: &str,
    from: &str,
    to: Option<&str>,
    paint: Paint,
) -> anyhow::Result<String> {
    let resource = api.get(name).await?;
    let to = match to {
        Some(to) => to.to_owned(),
        None => newest(client, &resource).await?,
    };
    let (from, to) = (read(client, &resource, from).await?, read(client, &resource, &to).await?);
    Ok(differences(&flat(&from)?, &flat(&to)?, paint))
}

pub(super) async fn rollback(
    client: &Client,
    api: &Api<CodeCrucible>,
    name: &str,
    revision: &str,
) -> anyhow::Result<String> {
    let resource = api.get(name).await?;
    let value = if revision == NONE {
        Value::Null
    } else {
        // The operator would refuse it too, but then it is in the resource already.
        let kept = read(client, &resource, revision).await?;
        anyhow::ensure!(
            kept.revision().to_string() == revision,
            "only what was in force can be gone back to"
        );
        revision.into()
    };
    let patch = json!({"metadata": {"annotations": {names::ANNOTATION_ROLLBACK_POLICY: value}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(if value.is_null() {
        format!("{name} follows its resource again\n")
    } else {
        format!(
            "{name} is held at policy {revision}, and who may do what is as it was then; `kubectl crucible policy rollback {name} {NONE}` ends that\n"
        )
    })
}

async fn newest(client: &Client, resource: &CodeCrucible) -> anyhow::Result<String> {
    let kept = kept_policies(client, resource).await?;
    kept.into_iter().next().map(|kept| kept.revision).context("no policy is kept")
}

async fn read(client: &Client, resource: &CodeCrucible, revision: &str) -> anyhow::Result<Bundle> {
    let kept = kept_policy(client, resource, revision).await?;
    kept.with_context(|| {
        format!("no policy {revision:?} is kept; `policy history` shows those that are, and {SHADOW:?} is one in shadow")
    })
}

/// A policy as one line for each value.
fn flat(bundle: &Bundle) -> anyhow::Result<BTreeMap<String, String>> {
    let mut lines = BTreeMap::new();
    flatten(String::new(), &serde_json::to_value(bundle.policy())?, &mut lines);
    Ok(lines)
}

fn flatten(path: String, value: &Value, lines: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            let path_of = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            map.iter().for_each(|(key, value)| flatten(path_of(key), value, lines));
        }
        // By name where they have one, so that one more does not change all that follow.
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
            let name = item["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
            flatten(format!("{path}[{name}]"), item, lines);
        }),
        scalar => {
            lines.insert(harmless(&path), harmless(&scalar.to_string()));
        }
    }
}

fn differences(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>, paint: Paint) -> String {
    let mut text = String::new();
    for (path, value) in from {
        if to.get(path) != Some(value) {
            let _ = writeln!(text, "{}", paint.bad(&format!("- {path}: {value}")));
        }
        if let Some(new) = to.get(path).filter(|new| *new != value) {
            let _ = writeln!(text, "{}", paint.good(&format!("+ {path}: {new}")));
        }
    }
    for (path, value) in to.iter().filter(|(path, _)| !from.contains_key(*path)) {
        let _ = writeln!(text, "{}", paint.good(&format!("+ {path}: {value}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(value: &Value) -> BTreeMap<String, String> {
        let mut lines = BTreeMap::new();
        flatten(String::new(), value, &mut lines);
        lines
    }

    #[test]
    fn a_difference_is_told_by_the_path_and_things_with_names_by_these() {
        let from = json!({"a": 1, "voices": [{"name": "x", "t": 3}, {"name": "y", "t": 4}], "gone": true});
        let to = json!({"a": 2, "voices": [{"name": "y", "t": 4}, {"name": "x", "t": 5}], "new": [7]});
        let told = differences(&lines(&from), &lines(&to), Paint::new(false));
        assert_eq!(told, "- a: 1\n+ a: 2\n- gone: true\n- voices[x].t: 3\n+ voices[x].t: 5\n+ new[0]: 7\n");
        assert_eq!(differences(&lines(&to), &lines(&to), Paint::new(false)), "");
    }
}
