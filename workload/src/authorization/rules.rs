//! Rules, found by whom they are about and what they are about: of thousands, few matter to one request.

use super::Action;
use cedar_policy::{
    ActionConstraint, Authorizer, Decision, Entities, EntityUid, Policy, PolicyId, PolicySet,
    PrincipalConstraint, Request,
};
use codecrucible_contract::{AccessDocument, AccessRule, entity};
use std::collections::HashMap;

/// What a set of rules says.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) is_allowed: bool,
    pub(super) because: Vec<String>,
}

/// A set of rules.
pub(super) struct Rules {
    /// By the client or namespace that their scope names.
    by_principal: HashMap<EntityUid, ByAction>,
    /// Those that name none.
    of_all: ByAction,
    /// Whether one of them could not be read; then nothing is permitted.
    is_broken: bool,
}

/// Rules with the same scope, by what they are about. One that is about several actions is there for each.
#[derive(Default)]
struct ByAction(HashMap<Action, PolicySet>);

impl Rules {
    pub(super) fn new(documents: &[&AccessDocument]) -> Self {
        let mut rules = Self { by_principal: HashMap::new(), of_all: ByAction::default(), is_broken: false };
        for document in documents {
            for rule in &document.rules {
                rules.is_broken |= rules.add(&document.name, rule).is_none();
            }
        }
        rules
    }

    /// Nothing for one that cannot be read.
    fn add(&mut self, document: &str, rule: &AccessRule) -> Option<()> {
        let policy = rule.parse().ok()?.new_id(PolicyId::new(format!("{document}/{}", rule.id)));
        let scope = match policy.principal_constraint() {
            PrincipalConstraint::Eq(named)
            | PrincipalConstraint::In(named)
            | PrincipalConstraint::IsIn(_, named) => self.by_principal.entry(named).or_default(),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => &mut self.of_all,
        };
        scope.add(&policy)
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
        let of =
            |type_name: &str, id: &str| entity(type_name, id).and_then(|named| self.by_principal.get(&named));
        let scopes = [of("Client", client), of("Namespace", namespace), Some(&self.of_all)];
        let sets = scopes.into_iter().flatten().filter_map(|scope| scope.0.get(&action));
        let mut joined = Joined { is_whole: !self.is_broken, ..Joined::default() };
        sets.for_each(|rules| joined.ask(rules, request, entities));
        joined.decided()
    }
}

impl ByAction {
    fn add(&mut self, policy: &Policy) -> Option<()> {
        for action in Action::ALL.into_iter().filter(|action| is_about(policy, *action)) {
            self.0.entry(action).or_default().add(policy.clone()).ok()?;
        }
        Some(())
    }
}

fn is_about(policy: &Policy, action: Action) -> bool {
    let is_this = |named: &EntityUid| Some(named) == entity("Action", action.as_str()).as_ref();
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => is_this(&one),
        ActionConstraint::In(several) => several.iter().any(is_this),
    }
}

/// What several sets come to as if they were one: a rule that forbids, in whichever, decides.
#[derive(Default)]
struct Joined {
    /// Whether every rule could be evaluated. What could not is left out by Cedar, also where it would forbid.
    is_whole: bool,
    permits: Vec<String>,
    forbids: Vec<String>,
}

impl Joined {
    fn ask(&mut self, rules: &PolicySet, request: &Request, entities: &Entities) {
        let response = Authorizer::new().is_authorized(request, rules, entities);
        let diagnostics = response.diagnostics();
        self.is_whole &= diagnostics.errors().next().is_none();
        // Where it denies, the reasons are those that forbid; there are none where nothing permits.
        let reasons = match response.decision() {
            Decision::Allow => &mut self.permits,
            Decision::Deny => &mut self.forbids,
        };
        reasons.extend(diagnostics.reason().map(ToString::to_string));
    }

    fn decided(self) -> Decided {
        let Self { is_whole, permits, forbids } = self;
        let is_allowed = is_whole && forbids.is_empty() && !permits.is_empty();
        Decided { is_allowed, because: if forbids.is_empty() { permits } else { forbids } }
    }
}
