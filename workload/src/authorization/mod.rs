//! Whether a client may do what it asks for: Cedar decides, from the rules of the policy.

mod entities;
mod remembered;
mod rules;

use crate::identity::namespace_of;
use codecrucible_contract::{Access, Enforcement};
use entities::{entities, request};
use remembered::Remembered;
use rules::{Decided, Rules};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To see a model in the list.
    ListModels,
    /// A chat completion.
    Complete,
    /// Several voices' answers.
    Synthesize,
}

impl Action {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::ListModels, Self::Complete, Self::Synthesize];

    /// Its name in rules and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListModels => "listModels",
            Self::Complete => "complete",
            Self::Synthesize => "synthesize",
        }
    }
}

/// Who asks, and under which circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The client's identifier.
    pub client: &'a str,
    /// The other end of the connection.
    pub address: IpAddr,
    /// How long ago its token was issued.
    pub token_age: Duration,
    /// When it asks.
    pub now: SystemTime,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is to be done.
    pub action: Action,
    /// With which model, by the name that clients use.
    pub model: &'a str,
    /// Where that answers.
    pub backend: &'a str,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the client may.
    pub is_allowed: bool,
    /// The rules by which: `DOCUMENT/RULE`. None, where nothing permits it or nothing is ruled.
    pub because: Vec<String>,
    /// What it would be if documents in shadow counted too, if there are such.
    pub shadow: Option<bool>,
}

/// Decides for one policy.
pub struct Authorizer {
    namespace: String,
    /// Nothing where everybody may do everything.
    enforced: Option<Rules>,
    /// The enforced rules and those in shadow together, if there are such.
    shadow: Option<Rules>,
    /// Nothing where a rule looks at more than who asks for what: then the same question may be answered otherwise the next time.
    remembered: Option<Remembered>,
}

impl Authorizer {
    /// Rules were checked when the policy was; one that does not parse all the same makes everything that it is a part of
    /// deny.
    pub fn new(access: Option<&Access>) -> Self {
        let Some(access) = access else {
            return Self { namespace: String::new(), enforced: None, shadow: None, remembered: None };
        };
        let of = |is_meant: &dyn Fn(Enforcement) -> bool| {
            let documents: Vec<_> =
                access.documents.iter().filter(|document| is_meant(document.enforcement)).collect();
            (!documents.is_empty()).then(|| Rules::new(&documents))
        };
        let has_shadow = access.documents.iter().any(|document| document.enforcement == Enforcement::Shadow);
        Self {
            namespace: access.namespace.clone(),
            enforced: of(&|enforcement| enforcement == Enforcement::Enforce),
            shadow: of(&|_| true).filter(|_| has_shadow),
            remembered: (!access.looks_at_circumstances()).then(Remembered::new),
        }
    }

    /// Whether anything is ruled at all, also only in shadow.
    pub fn rules(&self) -> bool {
        self.enforced.is_some() || self.shadow.is_some()
    }

    /// Decides.
    pub fn decide(&self, asking: &Asking<'_>, asked: &Asked<'_>) -> Arc<Verdict> {
        match &self.remembered {
            Some(remembered) => remembered.or(asking, asked, || self.decide_anew(asking, asked)),
            None => Arc::new(self.decide_anew(asking, asked)),
        }
    }

    fn decide_anew(&self, asking: &Asking<'_>, asked: &Asked<'_>) -> Verdict {
        if !self.rules() {
            return Verdict { is_allowed: true, because: Vec::new(), shadow: None };
        }
        let namespace = namespace_of(asking.client, &self.namespace);
        let (Some(request), Some(entities)) = (request(asking, asked), entities(asking, asked, namespace))
        else {
            return Verdict { is_allowed: false, because: Vec::new(), shadow: None };
        };
        let by = |rules: &Rules| rules.decide(asking.client, namespace, asked.action, &request, &entities);
        let enforced = self.enforced.as_ref().map(by);
        let shadow = self.shadow.as_ref().map(|rules| by(rules).is_allowed);
        let Decided { is_allowed, because } =
            enforced.unwrap_or_else(|| Decided { is_allowed: true, because: Vec::new() });
        Verdict { is_allowed, because, shadow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecrucible_contract::{AccessDocument, AccessRule};
    use std::net::Ipv4Addr;

    fn document(name: &str, enforcement: Enforcement, rules: &[&str]) -> AccessDocument {
        let rules = rules.iter().enumerate().map(|(index, cedar)| AccessRule {
            id: format!("statements[{index}]"),
            cedar: (*cedar).to_owned(),
        });
        let document = AccessDocument { name: name.into(), enforcement, rules: rules.collect() };
        document.validate().unwrap();
        document
    }

    fn authorizer(documents: Vec<AccessDocument>) -> Authorizer {
        Authorizer::new(Some(&Access { namespace: "models".into(), documents }))
    }

    fn enforcing(rules: &[&str]) -> Authorizer {
        authorizer(vec![document("team", Enforcement::Enforce, rules)])
    }

    fn asking(client: &str) -> Asking<'_> {
        // Noon in UTC.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 / 86_400 * 86_400 + 43_200);
        Asking { client, address: Ipv4Addr::new(10, 1, 2, 3).into(), token_age: Duration::from_secs(60), now }
    }

    const COMPLETE: Asked<'static> = Asked { action: Action::Complete, model: "coder", backend: "local" };

    fn may(authorizer: &Authorizer, client: &str) -> bool {
        authorizer.decide(&asking(client), &COMPLETE).is_allowed
    }

    #[test]
    fn without_documents_everybody_may_do_everything_and_with_one_nobody_may_anything() {
        assert!(may(&Authorizer::new(None), "apps.shop"));
        assert!(!may(&enforcing(&[]), "apps.shop"));
    }

    #[test]
    fn clients_are_told_by_name_by_namespace_and_by_all() {
        let one = enforcing(&[r#"permit (principal == Client::"apps.shop", action, resource);"#]);
        assert!(may(&one, "apps.shop") && !may(&one, "apps.other") && !may(&one, "other.shop"));
        let namespace = enforcing(&[r#"permit (principal in Namespace::"apps", action, resource);"#]);
        assert!(may(&namespace, "apps.shop") && !may(&namespace, "demo"));
        let own = enforcing(&[r#"permit (principal in Namespace::"models", action, resource);"#]);
        assert!(may(&own, "demo") && !may(&own, "apps.shop"), "the service's own client is of its namespace");
        assert!(may(&enforcing(&["permit (principal, action, resource);"]), "apps.shop"));
    }

    #[test]
    fn actions_models_and_backends_are_told_apart() {
        let rules = enforcing(&[
            r#"permit (principal, action in [Action::"complete", Action::"listModels"], resource == Model::"coder");"#,
            r#"permit (principal, action == Action::"synthesize", resource in Backend::"remote");"#,
        ]);
        let asked = |action, model, backend| {
            rules.decide(&asking("a.b"), &Asked { action, model, backend }).is_allowed
        };
        assert!(asked(Action::Complete, "coder", "local") && asked(Action::ListModels, "coder", "local"));
        assert!(!asked(Action::Complete, "other", "local") && !asked(Action::Synthesize, "coder", "local"));
        assert!(asked(Action::Synthesize, "any", "remote"));
    }

    #[test]
    fn what_is_forbidden_stays_so_whatever_is_permitted_and_the_rule_is_named() {
        let rules = enforcing(&[
            "permit (principal, action, resource);",
            r#"forbid (principal in Namespace::"apps", action, resource);"#,
        ]);
        let verdict = rules.decide(&asking("apps.shop"), &COMPLETE);
        assert_eq!((verdict.is_allowed, &*verdict.because), (false, &["team/statements[1]".to_owned()][..]));
        assert!(may(&rules, "other.shop"));
        // Two documents are one set, and so are rules about one client, its namespace and all.
        let split = authorizer(vec![
            document("a", Enforcement::Enforce, &["permit (principal, action, resource);"]),
            document("b", Enforcement::Enforce, &["forbid (principal, action, resource);"]),
        ]);
        assert!(!may(&split, "apps.shop"));
        for (permitted, forbidden) in [
            (r#"== Client::"apps.shop""#, r#"in Namespace::"apps""#),
            (r#"== Client::"apps.shop""#, ""),
            (r#"in Namespace::"apps""#, r#"== Client::"apps.shop""#),
            ("", r#"== Client::"apps.shop""#),
        ] {
            let permit = format!("permit (principal {permitted}, action, resource);");
            let forbid = format!("forbid (principal {forbidden}, action == Action::\"complete\", resource);");
            let both = enforcing(&[&permit, &forbid]);
            let verdict = both.decide(&asking("apps.shop"), &COMPLETE);
            assert_eq!(
                (verdict.is_allowed, &*verdict.because),
                (false, &["team/statements[1]".to_owned()][..]),
                "{permit} {forbid}"
            );
            let listed = Asked { action: Action::ListModels, ..COMPLETE };
            assert!(both.decide(&asking("apps.shop"), &listed).is_allowed, "{permit} {forbid}");
        }
    }

    #[test]
    fn addresses_times_and_the_age_of_tokens_count() {
        let when = |condition: &str| {
            enforcing(&[&format!("permit (principal, action, resource) when {{ {condition} }};")])
        };
        for (condition, expected) in [
            (r#"context.address.isInRange(ip("10.1.0.0/16"))"#, true),
            (r#"context.address.isInRange(ip("10.2.0.0/16"))"#, false),
            (r#"context.tokenAge <= duration("60s")"#, true),
            (r#"context.tokenAge <= duration("59s")"#, false),
            (r#"context.now.toTime() >= duration("12h") && context.now.toTime() < duration("13h")"#, true),
            (r#"context.now.toTime() < duration("12h")"#, false),
        ] {
            assert_eq!(may(&when(condition), "apps.shop"), expected, "{condition}");
        }
        let mapped = "::ffff:10.1.2.3".parse().unwrap();
        let verdict = when(r#"context.address.isInRange(ip("10.1.0.0/16"))"#)
            .decide(&Asking { address: mapped, ..asking("a.b") }, &COMPLETE);
        assert!(verdict.is_allowed, "an IPv4 address over a socket of IPv6");
    }

    #[test]
    fn what_was_decided_is_remembered_unless_a_rule_looks_at_circumstances() {
        let plain = enforcing(&[r#"permit (principal in Namespace::"apps", action, resource);"#]);
        let first = plain.decide(&asking("apps.shop"), &COMPLETE);
        assert!(Arc::ptr_eq(&first, &plain.decide(&asking("apps.shop"), &COMPLETE)));
        let others = [
            ("other.shop", COMPLETE),
            ("apps.shop", Asked { action: Action::ListModels, ..COMPLETE }),
            ("apps.shop", Asked { model: "other", ..COMPLETE }),
            ("apps.shop", Asked { backend: "other", ..COMPLETE }),
        ];
        for (client, asked) in others {
            assert!(!Arc::ptr_eq(&first, &plain.decide(&asking(client), &asked)), "{client} {asked:?}");
        }
        let young = r#"permit (principal, action, resource) when { context["tokenAge"] < duration("2m") };"#;
        let young = enforcing(&[young]);
        assert!(may(&young, "apps.shop"));
        let later = Asking { token_age: Duration::from_secs(120), ..asking("apps.shop") };
        assert!(!young.decide(&later, &COMPLETE).is_allowed);
    }

    #[test]
    fn documents_in_shadow_decide_nothing_and_are_compared() {
        let forbid = || document("next", Enforcement::Shadow, &["forbid (principal, action, resource);"]);
        let alone = authorizer(vec![forbid()]).decide(&asking("a.b"), &COMPLETE);
        assert_eq!((alone.is_allowed, alone.shadow), (true, Some(false)));
        let permit = document("now", Enforcement::Enforce, &["permit (principal, action, resource);"]);
        let beside = authorizer(vec![permit.clone(), forbid()]).decide(&asking("a.b"), &COMPLETE);
        assert_eq!((beside.is_allowed, beside.shadow), (true, Some(false)));
        let without = authorizer(vec![permit]).decide(&asking("a.b"), &COMPLETE);
        assert_eq!((without.is_allowed, without.shadow), (true, None));
    }

    #[test]
    fn a_rule_that_fails_when_it_is_asked_denies() {
        // Strictly typed, and more than a number can hold: Cedar would leave such a rule out.
        let overflow = "forbid (principal, action, resource) when { 9223372036854775807 + context.tokenAge.toSeconds() < 0 };";
        let rules = enforcing(&["permit (principal, action, resource);", overflow]);
        assert!(!may(&rules, "apps.shop"));
    }
}
