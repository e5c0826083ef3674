//! The limits of a policy, made ready: which of them apply to a request, and under which key each one counts.

use super::claims::Claim;
use super::counting::Rule;
use crate::identity::namespace_of;
use crate::telemetry::DecisionCounters;
use codecrucible_contract::{
    Algorithm, Limit, LimitedRoute, Limits as LimitsPolicy, Subject, Unit, WithoutStore,
};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// Leading bits of an IPv6 address by which one network is told from another: who has one has all addresses in it.
const IPV6_NETWORK_BITS: u32 = 64;

/// The limits of a policy.
pub struct Limits {
    limits: Vec<Arc<Compiled>>,
    hash_tag: String,
    namespace: String,
}

/// One limit.
pub(super) struct Compiled {
    pub(super) name: Arc<str>,
    /// As the whole limit, and as the part of one replica.
    texts: [Texts; 2],
    pub(super) whole: Rule,
    pub(super) part: Rule,
    pub(super) is_shadow: bool,
    /// Where it is counted what it says.
    pub(super) decisions: DecisionCounters,
    unit: Unit,
    pub(super) without_store: WithoutStore,
    routes: Vec<LimitedRoute>,
    models: Vec<String>,
    namespaces: Vec<String>,
    except_namespaces: Vec<String>,
    per: Subject,
    /// What the keys of its counters begin with.
    prefix: String,
}

/// How a limit is told to clients.
pub(super) struct Texts {
    /// As a header.
    pub(super) policy: Arc<str>,
    /// In words.
    pub(super) description: String,
}

/// A request, as far as limits are concerned.
pub struct Asked<'a> {
    /// Where it goes.
    pub route: LimitedRoute,
    /// The model, by the name that clients use.
    pub model: Option<&'a str>,
    /// Another one that it may come to.
    pub or_model: Option<&'a str>,
    /// Who asks; nobody yet for a token.
    pub client: Option<&'a str>,
    /// From where.
    pub address: IpAddr,
    /// The tokens that it may use.
    pub tokens: u64,
}

impl Limits {
    /// Those of a policy of the service that issues tokens under this name.
    pub fn new(issuer: &str, limits: &LimitsPolicy) -> Self {
        let scope = if limits.scope.is_empty() { issuer } else { &limits.scope };
        let hash_tag = format!("{{{}}}", scope.replace(['{', '}'], "_"));
        let compiled = |limit| Arc::new(Compiled::new(limit, limits.shares, &hash_tag));
        Self {
            limits: limits.rules.iter().map(compiled).collect(),
            namespace: limits.namespace.clone(),
            hash_tag,
        }
    }

    /// What all keys begin with.
    pub fn hash_tag(&self) -> &str {
        &self.hash_tag
    }

    /// Whether there is one of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.limits.iter().any(|limit| &*limit.name == name)
    }

    /// What a request wants of those that apply to it.
    pub(super) fn claims(&self, asked: &Asked<'_>) -> Vec<Claim> {
        let namespace = asked.client.map(|client| namespace_of(client, &self.namespace));
        let applying = self.limits.iter().filter(|limit| limit.applies(asked, namespace));
        applying.filter_map(|limit| limit.claim(asked, namespace)).collect()
    }
}

impl Compiled {
    fn new(limit: &Limit, shares: u16, hash_tag: &str) -> Self {
        let (whole, part) = (Rule::part(limit, 1), Rule::part(limit, shares));
        let algorithm = match limit.algorithm {
            Algorithm::TokenBucket => "b",
            Algorithm::SlidingWindow => "s",
            Algorithm::FixedWindow => "f",
        };
        Self {
            name: limit.name.as_str().into(),
            texts: [Texts::of(limit, whole.limit), Texts::of(limit, part.limit)],
            whole,
            part,
            is_shadow: limit.is_shadow,
            decisions: DecisionCounters::default(),
            unit: limit.unit,
            without_store: limit.without_store,
            routes: limit.routes.clone(),
            models: limit.models.clone(),
            namespaces: limit.namespaces.clone(),
            except_namespaces: limit.except_namespaces.clone(),
            per: limit.per,
            // Counters of another kind or window are others; a limit that is raised goes on with what was counted.
            prefix: match limit.unit {
                Unit::ConcurrentRequests => format!("{hash_tag}:limit:{}:c:", limit.name),
                _ => format!("{hash_tag}:limit:{}:{algorithm}{}:", limit.name, limit.window_ms),
            },
        }
    }

    /// Whether it counts the tokens of models.
    pub(super) fn is_in_tokens(&self) -> bool {
        self.unit == Unit::Tokens
    }

    /// Whether it counts what is under way.
    pub(super) fn is_at_once(&self) -> bool {
        self.unit == Unit::ConcurrentRequests
    }

    /// How it is told where all of it counts, or the part of one replica.
    pub(super) const fn told(&self, is_part: bool) -> &Texts {
        let [whole, part] = &self.texts;
        if is_part { part } else { whole }
    }

    /// What it says about a request, as metrics tell it.
    pub(super) const fn decision(&self, is_admitted: bool) -> &'static str {
        match (is_admitted, self.is_shadow) {
            (true, _) => "admitted",
            (false, false) => "refused",
            (false, true) => "would_refuse",
        }
    }

    /// What becomes of it while the store does not answer, as metrics tell it.
    pub(super) fn fallback(&self) -> &'static str {
        match self.without_store {
            WithoutStore::Local => "local",
            WithoutStore::Deny => "deny",
            WithoutStore::Allow => "allow",
        }
    }

    fn applies(&self, asked: &Asked<'_>, namespace: Option<&str>) -> bool {
        let is_route = match &*self.routes {
            [] => asked.route != LimitedRoute::Token,
            routes => {
                // These are chats in another way.
                let is_chat = matches!(asked.route, LimitedRoute::Messages | LimitedRoute::Responses);
                routes.contains(&asked.route) || (is_chat && routes.contains(&LimitedRoute::ChatCompletions))
            }
        };
        let is_named = |names: &[String], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|named| named == name))
        };
        let uses_tokens = !matches!(asked.route, LimitedRoute::Models | LimitedRoute::Token);
        is_route
            && (is_named(&self.models, asked.model) || is_named(&self.models, asked.or_model))
            && is_named(&self.namespaces, namespace)
            && !namespace
                .is_some_and(|namespace| self.except_namespaces.iter().any(|other| other == namespace))
            && (!self.is_in_tokens() || uses_tokens)
    }

    fn claim(self: &Arc<Self>, asked: &Asked<'_>, namespace: Option<&str>) -> Option<Claim> {
        let mut key = self.prefix.clone();
        match self.per {
            Subject::Client => key.push_str(asked.client?),
            Subject::Namespace => key.push_str(namespace?),
            Subject::Service => {}
            // It cannot fail.
            Subject::Address => write!(key, "{}", network(asked.address)).ok()?,
        }
        let wanted = if self.is_in_tokens() { asked.tokens } else { 1 };
        Some(Claim { limit: Arc::clone(self), key, wanted })
    }
}

/// Those who are counted as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - IPV6_NETWORK_BITS);
            IpAddr::V6((address.to_bits() & mask).into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Texts {
    /// Of a limit, of which so many count.
    fn of(limit: &Limit, count: u64) -> Self {
        let per = match limit.per {
            Subject::Client => "each client",
            Subject::Namespace => "all clients of a namespace together",
            Subject::Address => "each address",
            Subject::Service => "all clients together",
        };
        let (name, seconds) = (&limit.name, limit.window_ms.div_ceil(1_000));
        let here = if count == limit.limit { "" } else { ", counted by this replica alone" };
        // Units have the names of the draft's registry.
        let (what, quota) = match limit.unit {
            Unit::Requests => (format!("requests in {seconds} seconds"), format!(";w={seconds}")),
            Unit::Tokens => (format!("tokens in {seconds} seconds"), format!(";w={seconds};qu=\"tokens\"")),
            Unit::ConcurrentRequests => {
                ("requests at once".to_owned(), ";qu=\"concurrent-requests\"".to_owned())
            }
        };
        Self {
            policy: format!("{name:?};q={count}{quota}").into(),
            description: format!("The limit {name:?} is {count} {what} for {per}{here}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fixtures::daily;

    fn limit(name: &str, per: Subject) -> Limit {
        Limit { per, ..daily(name, 60) }
    }

    fn asked(route: LimitedRoute) -> Asked<'static> {
        Asked {
            route,
            model: Some("coder"),
            or_model: None,
            client: Some("apps.shop"),
            address: IpAddr::from([10, 0, 0, 1]),
            tokens: 500,
        }
    }

    fn compiled(limit: &Limit) -> Arc<Compiled> {
        Arc::new(Compiled::new(limit, 1, "{demo}"))
    }

    fn key(per: Subject, asked: &Asked<'_>) -> String {
        compiled(&limit("l", per)).claim(asked, Some("apps")).unwrap().key
    }

    #[test]
    fn a_limit_applies_to_what_it_names_and_to_all_where_it_names_nothing() {
        let applies = |change: fn(&mut Limit), route| {
            let mut limit = limit("l", Subject::Service);
            change(&mut limit);
            compiled(&limit).applies(&asked(route), Some("apps"))
        };
        use LimitedRoute::{ChatCompletions, Messages, Models, Responses, Token};
        assert!(applies(|_| {}, ChatCompletions) && applies(|_| {}, Models));
        assert!(!applies(|_| {}, Token), "who asks for a token is limited only by a limit that says so");
        assert!(applies(|l| l.routes = vec![Token], Token));
        assert!(!applies(|l| l.routes = vec![Models], ChatCompletions));
        for other_way in [Messages, Responses] {
            assert!(
                applies(|l| l.routes = vec![ChatCompletions], other_way),
                "the same models in another way"
            );
        }
        assert!(!applies(|l| l.routes = vec![Messages], Responses));
        assert!(!applies(|l| l.routes = vec![Messages], ChatCompletions));
        assert!(!applies(|l| l.models = vec!["other".into()], ChatCompletions));
        assert!(applies(|l| l.models = vec!["other".into(), "coder".into()], ChatCompletions));
        let may_come_to_other = Asked { or_model: Some("other"), ..asked(ChatCompletions) };
        let of_other = Limit { models: vec!["other".into()], ..limit("l", Subject::Service) };
        assert!(compiled(&of_other).applies(&may_come_to_other, Some("apps")));
        assert!(!applies(|l| l.namespaces = vec!["others".into()], ChatCompletions));
        assert!(applies(|l| l.namespaces = vec!["apps".into()], ChatCompletions));
        assert!(!applies(|l| l.except_namespaces = vec!["apps".into()], ChatCompletions));
        assert!(applies(|l| l.except_namespaces = vec!["others".into()], ChatCompletions));
        assert!(!applies(|l| l.unit = Unit::Tokens, Models), "a list of models uses no tokens");
    }

    #[test]
    fn subjects_are_counted_apart_and_networks_together() {
        let chat = || asked(LimitedRoute::ChatCompletions);
        assert_eq!(key(Subject::Client, &chat()), "{demo}:limit:l:b86400000:apps.shop");
        assert_eq!(key(Subject::Namespace, &chat()), "{demo}:limit:l:b86400000:apps");
        assert_eq!(key(Subject::Service, &chat()), "{demo}:limit:l:b86400000:");
        let from =
            |address: &str| key(Subject::Address, &Asked { address: address.parse().unwrap(), ..chat() });
        assert_eq!(from("10.0.0.1"), from("::ffff:10.0.0.1"));
        assert_ne!(from("10.0.0.1"), from("10.0.0.2"));
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
    }

    #[test]
    fn tokens_are_wanted_as_many_as_a_request_may_use() {
        let tokens = Limit { unit: Unit::Tokens, ..limit("t", Subject::Client) };
        let claim = |limit: &Limit| compiled(limit).claim(&asked(LimitedRoute::Responses), None).unwrap();
        assert_eq!(claim(&tokens).wanted, 500);
        assert_eq!(claim(&limit("r", Subject::Client)).wanted, 1);
        assert_eq!(&*compiled(&tokens).told(false).policy, r#""t";q=60;w=86400;qu="tokens""#);
    }
}
