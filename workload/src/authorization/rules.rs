//! Rules, found by whom they are about: of thousands, few matter to one client.

use super::Action;
use cedar_policy::{
    ActionConstraint, Authorizer, Decision, Entities, EntityUid, Policy, PolicyId, PolicySet,
    PrincipalConstraint, Request,
};
use codecrucible_contract::{AccessDocument, AccessRule};
use std::collections::HashMap;
use std::sync::Arc;

/// Most pairs of client and action for which the rules that matter are remembered.
const REMEMBERED_SLICES: u64 = 10_000;

/// What a set of rules says.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) is_allowed: bool,
    pub(super) because: Vec<String>,
}

/// A set of rules.
pub(super) struct Rules {
    /// By the client or namespace that their scope names, as it stands there.
    by_principal: HashMap<String, Vec<Policy>>,
    /// Those that name none.
    of_all: Vec<Policy>,
    /// Whether one of them could not be read; then nothing is permitted.
    is_broken: bool,
    slices: moka::sync::Cache<(String, Action), Arc<PolicySet>>,
}

impl Rules {
    pub(super) fn new(documents: &[&AccessDocument]) -> Self {
        let mut rules = Self {
            by_principal: HashMap::new(),
            of_all: Vec::new(),
            is_broken: false,
            slices: moka::sync::Cache::new(REMEMBERED_SLICES),
        };
        for document in documents {
            for rule in &document.rules {
                rules.add(&document.name, rule);
            }
        }
        rules
    }

    fn add(&mut self, document: &str, rule: &AccessRule) {
        let Ok(policy) = rule.parse() else {
            self.is_broken = true;
            return;
        };
        let policy = policy.new_id(PolicyId::new(format!("{document}/{}", rule.id)));
        match policy.principal_constraint() {
            PrincipalConstraint::Eq(named)
            | PrincipalConstraint::In(named)
            | PrincipalConstraint::IsIn(_, named) => {
                self.by_principal.entry(named.to_string()).or_default().push(policy);
            }
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => self.of_all.push(policy),
        }
    }

    /// What the rules say of a request of a client of a namespace.
    pub(super) fn decide(
        &self,
        client: &str,
        namespace: &str,
        action: Action,
        request: &Request,
        entities: &Entities,
    ) -> Decided {
        if self.is_broken {
            return Decided { is_allowed: false, because: Vec::new() };
        }
        let slice = self
            .slices
            .get_with((client.to_owned(), action), || Arc::new(self.slice(client, namespace, request)));
        let response = Authorizer::new().is_authorized(request, &slice, entities);
        let diagnostics = response.diagnostics();
        let because = diagnostics.reason().map(ToString::to_string).collect();
        // What could not be evaluated is left out by Cedar, also where it would forbid.
        let is_whole = diagnostics.errors().next().is_none();
        Decided { is_allowed: is_whole && response.decision() == Decision::Allow, because }
    }

    fn slice(&self, client: &str, namespace: &str, request: &Request) -> PolicySet {
        let of = |type_name: &str, id: &str| {
            let named = codecrucible_contract::entity(type_name, id).map(|entity| entity.to_string());
            named.and_then(|named| self.by_principal.get(&named)).into_iter().flatten()
        };
        let concerns = |policy: &&Policy| is_about(policy, request.action());
        let policies = of("Client", client).chain(of("Namespace", namespace)).chain(&self.of_all);
        // Each is in one place, so no identifier occurs twice.
        PolicySet::from_policies(policies.filter(concerns).cloned()).unwrap_or_default()
    }
}

fn is_about(policy: &Policy, action: Option<&EntityUid>) -> bool {
    match (policy.action_constraint(), action) {
        (ActionConstraint::Any, _) => true,
        (ActionConstraint::Eq(one), Some(action)) => one == *action,
        (ActionConstraint::In(several), Some(action)) => several.contains(action),
        (_, None) => false,
    }
}
