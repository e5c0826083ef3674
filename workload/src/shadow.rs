//! A policy beside the one that serves: what it would do otherwise is counted and told, and nothing comes of it.

use crate::authorization::{Action, Asked, Asking, Authorizer};
use codecrucible_contract::{Bundle, ShadowAcknowledgement, Synthesis};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a request leads under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To these backends, each with its priority and the model's name there, in an order that says nothing.
    Backends(BTreeSet<(u16, &'a str, &'a str)>),
    /// Nowhere: there is no such model.
    Nowhere,
    /// Nowhere: the client may not.
    Denied,
}

/// Wherein two policies differ over a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// In where it leads.
    Route,
    /// In whether the client may.
    Access,
    /// In who speaks, and how much.
    Synthesis,
}

impl Difference {
    /// Its name in metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Access => "access",
            Self::Synthesis => "synthesis",
        }
    }

    /// Between where a request leads and where it would lead.
    pub fn between(one: &Destination<'_>, other: &Destination<'_>) -> Option<Self> {
        match (one, other) {
            (one, other) if one == other => None,
            (Destination::Denied, _) | (_, Destination::Denied) => Some(Self::Access),
            _ => Some(Self::Route),
        }
    }
}

/// A policy that is only compared.
pub struct Shadow {
    bundle: Bundle,
    authorizer: Authorizer,
    /// Backends and what they call a model, by the name that clients use.
    routes: HashMap<String, Vec<Target>>,
    default_model: Option<String>,
    comparisons: AtomicU64,
    differences: AtomicU64,
}

struct Target {
    backend: String,
    model: String,
    priority: u16,
}

impl Shadow {
    /// A policy that nothing was compared with yet.
    pub fn new(bundle: Bundle) -> Self {
        let backends = || bundle.policy().backends.iter();
        let mut routes: HashMap<String, Vec<Target>> = HashMap::new();
        for backend in backends() {
            for model in &backend.models {
                routes.entry(model.public_name().to_owned()).or_default().push(Target {
                    backend: backend.name.clone(),
                    model: model.name.clone(),
                    priority: backend.priority,
                });
            }
        }
        let first = backends().next().and_then(|backend| backend.models.first());
        Self {
            authorizer: Authorizer::new(bundle.policy().access.as_ref()),
            routes,
            default_model: first.map(|model| model.public_name().to_owned()),
            comparisons: AtomicU64::new(0),
            differences: AtomicU64::new(0),
            bundle,
        }
    }

    /// Where a request for a model, or for the default one, would lead.
    pub fn destination(&self, asking: &Asking<'_>, action: Action, named: Option<&str>) -> Destination<'_> {
        let name = named.or(self.default_model.as_deref());
        let Some((public, targets)) = name.and_then(|name| self.routes.get_key_value(name)) else {
            return Destination::Nowhere;
        };
        let may_use = |target: &&Target| {
            let asked = Asked { action, model: public, backend: &target.backend };
            self.authorizer.decide(asking, &asked).is_allowed
        };
        let permitted: BTreeSet<_> = targets
            .iter()
            .filter(may_use)
            .map(|target| (target.priority, target.backend.as_str(), target.model.as_str()))
            .collect();
        if permitted.is_empty() { Destination::Denied } else { Destination::Backends(permitted) }
    }

    /// How voices would answer together.
    pub fn synthesis(&self) -> &Synthesis {
        &self.bundle.policy().synthesis
    }

    /// Its revision.
    pub fn revision(&self) -> String {
        self.bundle.revision().to_string()
    }

    /// Notes a comparison.
    pub fn note(&self, difference: Option<Difference>) {
        self.comparisons.fetch_add(1, Ordering::Relaxed);
        if difference.is_some() {
            self.differences.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was seen so far.
    pub fn acknowledgement(&self) -> ShadowAcknowledgement {
        ShadowAcknowledgement {
            revision: self.revision(),
            hash: self.bundle.hash().to_owned(),
            comparisons: self.comparisons.load(Ordering::Relaxed),
            differences: self.differences.load(Ordering::Relaxed),
            refused: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_differ_in_where_a_request_leads_or_in_whether_it_may() {
        let to = |backend| Destination::Backends([(0, backend, "m")].into());
        let between = |one, other| Difference::between(&one, &other);
        assert_eq!(between(to("a"), to("a")), None);
        assert_eq!(between(Destination::Denied, Destination::Denied), None);
        assert_eq!(between(to("a"), to("b")), Some(Difference::Route));
        let both = |priority| Destination::Backends([(0, "a", "m"), (priority, "b", "m")].into());
        assert_eq!(between(to("a"), both(0)), Some(Difference::Route));
        assert_eq!(between(both(0), both(1)), Some(Difference::Route));
        assert_eq!(between(Destination::Nowhere, to("a")), Some(Difference::Route));
        assert_eq!(between(to("a"), Destination::Denied), Some(Difference::Access));
        assert_eq!(between(Destination::Denied, Destination::Nowhere), Some(Difference::Access));
    }
}
