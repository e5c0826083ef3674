//! How new what is read must be: as the watches have shown it, or as it is stored. Pure.

use crate::service::child::Child;
use crate::service::newest::Newest;
use kube::api::{GetParams, ListParams, VersionMatch};

/// Pods of one page of a list: anybody can make many large ones with our labels.
pub(super) const PAGE_PODS: u32 = 20;
/// How new the children and pods must be that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As the API server has them in memory, which costs it much less, and no older than what the watches have
    /// shown. They may lag behind what is stored: good enough to see that all is well, not to write.
    Glance,
    /// As they are stored.
    Exact,
}

impl Look {
    /// The deployment's state is reported, so it is never an old one.
    pub(super) fn of_child(self, child: Child, newest: &Newest) -> GetParams {
        if self == Self::Exact || matches!(child, Child::Deployment | Child::Canary) {
            GetParams::default()
        } else {
            newest.of(child.kind()).map_or_else(GetParams::default, |version| GetParams::at(&version))
        }
    }

    pub(super) fn of_pods(self, newest: &Newest) -> ListParams {
        let parameters = ListParams::default().limit(PAGE_PODS);
        match newest.of("Pod").filter(|_| self == Self::Glance) {
            Some(version) => parameters.matching(VersionMatch::NotOlderThan).at(&version),
            None => parameters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_is_no_older_than_what_a_watch_has_shown() {
        let newest = Newest::default();
        newest.note("Service", Some("7"));
        newest.note("Pod", Some("8"));
        newest.note("Deployment", Some("9"));
        newest.note("PodDisruptionBudget", Some("6"));
        for kind in ["Service", "Pod", "Deployment", "ConfigMap"] {
            newest.note_listed(kind);
        }
        let asked_for = |look: Look, child| look.of_child(child, &newest).resource_version;
        assert_eq!(asked_for(Look::Glance, Child::Service).as_deref(), Some("7"));
        assert_eq!(asked_for(Look::Glance, Child::Policy).as_deref(), Some("0"));
        assert_eq!(asked_for(Look::Glance, Child::Deployment), None, "it is reported");
        assert_eq!(asked_for(Look::Glance, Child::DisruptionBudget), None, "not all were shown yet");
        assert_eq!(asked_for(Look::Exact, Child::Service), None);
        assert_eq!(Look::Glance.of_pods(&newest).resource_version.as_deref(), Some("8"));
        assert_eq!(Look::Exact.of_pods(&newest).resource_version, None);
    }
}
