//! What a change would write, decided by the operator's own code from what there is. Nothing is written.

use super::paint::Paint;
use crate::service::{Pods, Preview, PreviewedChange, preview};
use anyhow::{Context as _, ensure};
use codecrucible_crds::CodeCrucible;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use std::fmt::Write as _;
use std::path::Path;

/// Largest file that is read, bytes: the API server takes no larger object.
const MAX_FILE_BYTES: u64 = 3 * 1024 * 1024;

pub(super) async fn plan(
    client: &Client,
    namespace: &str,
    operator_namespace: &str,
    file: &Path,
    paint: Paint,
) -> anyhow::Result<String> {
    let size = std::fs::metadata(file).with_context(|| file.display().to_string())?.len();
    ensure!(size <= MAX_FILE_BYTES, "{} is larger than {MAX_FILE_BYTES} bytes", file.display());
    let yaml = std::fs::read_to_string(file)?;
    let wanted: CodeCrucible =
        serde_yaml::from_str(&yaml).with_context(|| format!("{} is not one CodeCrucible", file.display()))?;
    let namespace = wanted.namespace().unwrap_or_else(|| namespace.to_owned());
    let api: Api<CodeCrucible> = Api::namespaced(client.clone(), &namespace);
    // The API server fills in defaults and checks all rules, as it would for the real change.
    let wanted = dry_run(&api, &wanted).await?;
    Ok(rendered(&preview(client, operator_namespace, &wanted).await?, paint))
}

/// A replacement, so that what the file no longer says is gone. Labels and annotations of others stay.
async fn dry_run(api: &Api<CodeCrucible>, wanted: &CodeCrucible) -> anyhow::Result<CodeCrucible> {
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let name = wanted.name_any();
    let Some(mut changed) = api.get_opt(&name).await? else {
        return Ok(api.create(&parameters, &CodeCrucible { status: None, ..wanted.clone() }).await?);
    };
    changed.annotations_mut().extend(wanted.annotations().clone());
    changed.labels_mut().extend(wanted.labels().clone());
    changed.metadata.managed_fields = None;
    changed.spec = wanted.spec.clone();
    Ok(api.replace(&name, &parameters, &changed).await?)
}

/// A preview for people.
pub(crate) fn rendered(preview: &Preview, paint: Paint) -> String {
    let mut text = String::new();
    match preview {
        Preview::Refused(message) => {
            let _ = writeln!(text, "{} {message}", paint.bad("would be refused:"));
        }
        Preview::Paused => text.push_str("nothing would be written: spec.maintenance.paused is set\n"),
        Preview::Changes { changes, pods, policy } => {
            for PreviewedChange { verb, kind, name } in changes {
                let verb = if *verb == "delete" { paint.bad(verb) } else { paint.passing(verb) };
                let _ = writeln!(text, "{verb} {kind} {name}");
            }
            let _ = match (pods, policy) {
                (Pods::Replaced, _) => {
                    writeln!(text, "{}", paint.bad("pods would be replaced, one after the other"))
                }
                (Pods::TriedOut, _) => {
                    let told = "new pods would be tried out beside these, and replace them if they pass";
                    writeln!(text, "{}", paint.bad(told))
                }
                (Pods::Stay, Some(policy)) => {
                    writeln!(
                        text,
                        "{}",
                        paint.good(&format!("pods would read policy {policy} without a restart"))
                    )
                }
                (Pods::Stay, None) if changes.is_empty() => writeln!(text, "nothing would be written"),
                (Pods::Stay, None) => writeln!(text, "pods would stay as they are"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(changes: &[(&'static str, &'static str)], pods: Pods, policy: Option<&str>) -> String {
        let change =
            |(verb, kind): &(&'static str, &'static str)| PreviewedChange { verb, kind, name: "demo".into() };
        let changes = changes.iter().map(change).collect();
        rendered(&Preview::Changes { changes, pods, policy: policy.map(str::to_owned) }, Paint::new(false))
    }

    #[test]
    fn a_restart_is_told_from_a_reload() {
        let reload = shown(&[("change", "ConfigMap")], Pods::Stay, Some("2-x"));
        assert_eq!(reload, "change ConfigMap demo\npods would read policy 2-x without a restart\n");
        assert!(
            shown(&[("change", "Deployment")], Pods::Replaced, Some("2-x"))
                .contains("pods would be replaced")
        );
        assert!(shown(&[("create", "Deployment")], Pods::TriedOut, None).contains("tried out beside these"));
        assert_eq!(shown(&[], Pods::Stay, None), "nothing would be written\n");
    }
}
