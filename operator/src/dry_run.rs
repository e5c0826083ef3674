//! What an operator of this version would write for the services that there are: for a look before it is let operate, as
//! before an upgrade. Writes nothing.

use crate::plugin::{Paint, rendered};
use crate::service::{Pods, Preview, preview};
use codecrucible_crds::CodeCrucible;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use std::fmt;

/// Services of one page of a list.
const PAGE_SERVICES: u32 = 20;

/// How many services there are of which kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    services: usize,
    written: usize,
    /// Of those, with new pods.
    restarted: usize,
    refused: usize,
    paused: usize,
    failed: usize,
}

impl Count {
    fn add(&mut self, preview: Option<&Preview>) {
        self.services += 1;
        match preview {
            None => self.failed += 1,
            Some(Preview::Refused(_)) => self.refused += 1,
            Some(Preview::Paused) => self.paused += 1,
            Some(Preview::Changes { changes, pods, .. }) => {
                self.written += usize::from(!changes.is_empty());
                self.restarted += usize::from(*pods != Pods::Stay);
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, written, restarted, refused, paused, failed } = self;
        write!(
            text,
            "{services} services: {written} would be written to, {restarted} of them get new pods; {refused} are refused, \
             {paused} are paused, {failed} could not be looked at"
        )
    }
}

/// Tells of each service, and at last how many there are.
///
/// # Errors
///
/// The services cannot be listed, or one of them cannot be looked at.
pub(crate) async fn dry_run(
    client: &Client,
    operator_namespace: &str,
    namespace: Option<&str>,
    paint: Paint,
    mut tell: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let api: Api<CodeCrucible> = match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    };
    let (mut count, mut page) = (Count::default(), ListParams::default().limit(PAGE_SERVICES));
    loop {
        let listed = api.list(&page).await?;
        for resource in &listed.items {
            let name = format!(
                "{}/{}",
                resource.namespace().unwrap_or_default(),
                paint.strong(&resource.name_any())
            );
            let previewed = preview(client, operator_namespace, resource).await;
            count.add(previewed.as_ref().ok());
            let text = match previewed {
                Ok(preview) => rendered(&preview, paint),
                Err(error) => format!("{} {error}\n", paint.bad("cannot be looked at:")),
            };
            tell(&format!("{name}\n{}", indented(&text)))?;
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    tell(&format!("{count}\n"))?;
    anyhow::ensure!(count.failed == 0, "{} services could not be looked at", count.failed);
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::PreviewedChange;

    #[test]
    fn services_are_counted_by_what_would_become_of_them() {
        let change = || PreviewedChange { verb: "change", kind: "Deployment", name: "demo".into() };
        let changes = |changes: Vec<PreviewedChange>, pods| Preview::Changes { changes, pods, policy: None };
        let mut count = Count::default();
        for preview in [
            Some(changes(vec![change()], Pods::Replaced)),
            Some(changes(vec![change()], Pods::Stay)),
            Some(changes(Vec::new(), Pods::Stay)),
            Some(Preview::Refused("spec.x: wrong".into())),
            Some(Preview::Paused),
            None,
        ] {
            count.add(preview.as_ref());
        }
        assert_eq!(
            count.to_string(),
            "6 services: 2 would be written to, 1 of them get new pods; 1 are refused, 1 are paused, 1 could not be \
             looked at"
        );
    }
}
