//! Which answers are given again to the same request.

use crate::policy::is_default;
use crate::store::{Store, check_scope};
use crate::validate::{Checked, check, name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// Most rules of one policy.
const MAX_RULES: usize = 32;
/// Most questions that a replica asks itself.
const MAX_WARM_UP: usize = 32;
/// Longest request of such a question, bytes.
const MAX_WARM_UP_BYTES: usize = 8 * 1024;
/// What of a request's headers makes it another question.
const WARM_UP_HEADERS: [&str; 2] = ["anthropic-version", "anthropic-beta"];
/// Longest value of one, bytes.
const MAX_HEADER_BYTES: usize = 256;
/// What is told of a model that nobody has, characters.
const MAX_TOLD_CHARACTERS: usize = 64;
/// Most models or namespaces that one rule names.
const MAX_NAMED: usize = 64;
/// Least and most room for answers, bytes (1 MiB, 64 GiB).
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 30;
/// Shortest and longest time for which an answer is good, milliseconds (1 s, 30 days).
const TTL_MS: std::ops::RangeInclusive<u64> = 1_000..=2_592_000_000;

/// Which answers are given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// Room in the memory of each replica, bytes.
    pub memory_bytes: u64,
    /// Where replicas find what others were answered, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedAnswers>,
    /// The first that applies to a request decides; to one to which none applies, nothing is given again.
    pub rules: Vec<CacheRule>,
    /// What a replica asks before anybody does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm_up: Vec<WarmUp>,
    /// The namespace of the service's own client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// A store of answers that replicas share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedAnswers {
    /// Where it is.
    pub store: Store,
    /// What tells the service's answers from those of others in the store.
    pub scope: String,
}

/// Which answers are given again, to whom, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheRule {
    /// Unique name.
    pub name: String,
    /// What it applies to; every route if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<CachedRoute>,
    /// The models that it applies to, by the names that clients use; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The namespaces to whose clients it applies; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Which requests it applies to.
    pub requests: CachedRequests,
    /// Who is given what another one was answered.
    pub shared_by: SharedBy,
    /// For how long, milliseconds.
    pub ttl_ms: u64,
    /// With a number that it never had, what was answered before is not given any more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub epoch: u32,
}

/// A question that a replica asks before anybody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WarmUp {
    /// As whom: the identifier that the client asks for tokens with.
    pub client: String,
    /// Where it goes.
    pub route: CachedRoute,
    /// The request's body, as clients write it: JSON.
    pub request: String,
    /// The headers that are part of the question, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// A part of the API whose answers can be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum CachedRoute {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Messages,
}

/// Which requests are answered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CachedRequests {
    /// Those that ask for the same answer each time: embeddings, and what has a temperature of 0 or a seed.
    Deterministic,
    /// All.
    All,
}

/// Who is given what another one was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SharedBy {
    /// Only the client itself.
    Client,
    /// All clients of its namespace.
    Namespace,
}

impl Cache {
    /// Checks each rule; `models` are those that clients may name.
    pub(crate) fn validate(&self, models: &HashSet<&str>) -> Checked {
        let Self { memory_bytes, shared, rules, warm_up, namespace: _ } = self;
        check(MEMORY_BYTES.contains(memory_bytes), "cache.memoryBytes", || {
            format!("{memory_bytes} is outside {} to {} bytes", MEMORY_BYTES.start(), MEMORY_BYTES.end())
        })?;
        if let Some(shared) = shared {
            shared.store.validate().map_err(|invalid| invalid.below("cache.shared"))?;
            check_scope("cache.shared.scope", &shared.scope)?;
        }
        check((1..=MAX_RULES).contains(&rules.len()), "cache.rules", || {
            format!("has {} entries, and must have 1 to {MAX_RULES}", rules.len())
        })?;
        let mut names = HashSet::new();
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("cache.rules[{index}]");
            rule.validate(models).map_err(|invalid| invalid.below(&path))?;
            check(names.insert(&rule.name), &format!("{path}.name"), || {
                format!("{:?} occurs twice", rule.name)
            })?;
        }
        check(warm_up.len() <= MAX_WARM_UP, "cache.warmUp", || {
            format!("has {} entries, more than {MAX_WARM_UP}", warm_up.len())
        })?;
        for (index, question) in warm_up.iter().enumerate() {
            let path = format!("cache.warmUp[{index}]");
            question.validate(models).map_err(|invalid| invalid.below(&path))?;
        }
        Ok(())
    }
}

impl WarmUp {
    /// The model that is asked, by the name that clients use; nothing where the request is none.
    pub fn model(&self) -> Option<String> {
        let mut request = serde_json::from_str::<Map<String, Value>>(&self.request).ok()?;
        match request.remove("model")? {
            Value::String(model) => Some(model),
            _ => None,
        }
    }

    /// What the request says beside its model, only whoever reads requests can tell.
    fn validate(&self, known: &HashSet<&str>) -> Checked {
        name("client", &self.client)?;
        check(self.request.len() <= MAX_WARM_UP_BYTES, "request", || {
            format!("has {} bytes, more than {MAX_WARM_UP_BYTES}", self.request.len())
        })?;
        let model = self.model();
        check(model.is_some(), "request", || "is no JSON object that names a model".into())?;
        check(model.as_ref().is_some_and(|model| known.contains(model.as_str())), "request", || {
            let told: String =
                model.iter().flat_map(|model| model.chars()).take(MAX_TOLD_CHARACTERS).collect();
            format!("no backend has a model {told:?}")
        })?;
        for (name, value) in &self.headers {
            check(WARM_UP_HEADERS.contains(&name.as_str()), "headers", || {
                format!("must have no other names than {}", WARM_UP_HEADERS.join(" and "))
            })?;
            let is_shown = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            let is_one = value.len() <= MAX_HEADER_BYTES && value.bytes().all(is_shown);
            check(is_one, "headers", || {
                format!("{name} must have at most {MAX_HEADER_BYTES} bytes of visible ASCII")
            })?;
        }
        check(self.headers.is_empty() || self.route == CachedRoute::Messages, "headers", || {
            "only mean something to Messages".into()
        })
    }
}

impl CacheRule {
    fn validate(&self, known: &HashSet<&str>) -> Checked {
        name("name", &self.name)?;
        for (path, named) in [("models", &self.models), ("namespaces", &self.namespaces)] {
            check(named.len() <= MAX_NAMED, path, || {
                format!("has {} entries, more than {MAX_NAMED}", named.len())
            })?;
            named.iter().enumerate().try_for_each(|(index, one)| name(&format!("{path}[{index}]"), one))?;
        }
        for (index, model) in self.models.iter().enumerate() {
            check(known.contains(model.as_str()), &format!("models[{index}]"), || {
                format!("no backend has a model {model:?}")
            })?;
        }
        check(TTL_MS.contains(&self.ttl_ms), "ttlMs", || {
            format!("{} is outside {} to {} milliseconds", self.ttl_ms, TTL_MS.start(), TTL_MS.end())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::tests::sample_policy;
    use crate::{Invalid, Policy};

    fn refusal(change: impl FnOnce(&mut WarmUp)) -> Invalid {
        let rule = CacheRule {
            name: "all".into(),
            routes: Vec::new(),
            models: Vec::new(),
            namespaces: Vec::new(),
            requests: CachedRequests::All,
            shared_by: SharedBy::Client,
            ttl_ms: 1_000,
            epoch: 0,
        };
        let mut question = WarmUp {
            client: "team.app".into(),
            route: CachedRoute::ChatCompletions,
            request: r#"{"model":"m"}"#.into(),
            headers: BTreeMap::new(),
        };
        let mut cache = Cache {
            memory_bytes: 1 << 20,
            shared: None,
            rules: vec![rule],
            warm_up: vec![question.clone()],
            namespace: "team".into(),
        };
        let under = |cache: &Cache| Policy { cache: Some(cache.clone()), ..sample_policy() }.validate();
        under(&cache).unwrap();
        change(&mut question);
        cache.warm_up.push(question);
        under(&cache).unwrap_err()
    }

    #[test]
    fn a_question_that_cannot_be_asked_is_reported_at_its_path() {
        let so = |request: &str| refusal(|question| question.request = request.into());
        assert_eq!(refusal(|question| question.client.clear()).path, "cache.warmUp[1].client");
        for (request, problem) in [
            (r#"{"model":"other"}"#, "no backend has a model \"other\""),
            (r#"{"model":["m"]}"#, "is no JSON object that names a model"),
            ("{}", "is no JSON object that names a model"),
            (r#"["m"]"#, "is no JSON object that names a model"),
            (r#"{"model":"m""#, "is no JSON object that names a model"),
        ] {
            let refusal = so(request);
            assert_eq!((&*refusal.path, &*refusal.problem), ("cache.warmUp[1].request", problem));
        }
        let strange = so(&format!(r#"{{"model":"{}"}}"#, "a".repeat(1_000)));
        assert!(strange.problem.len() < 100, "{}", strange.problem);
        let long = so(&format!(r#"{{"model":"m","input":"{}"}}"#, "a".repeat(MAX_WARM_UP_BYTES)));
        assert!(long.problem.ends_with("more than 8192"), "{}", long.problem);
    }
    #[test]
    fn only_headers_that_are_part_of_a_question_are_given() {
        let with = |name: &str, value: &str, route| {
            refusal(|question| {
                question.route = route;
                question.headers.insert(name.into(), value.into());
            })
        };
        let version = "anthropic-version";
        for refusal in [
            with("authorization", "x", CachedRoute::Messages),
            with(version, "a\nb", CachedRoute::Messages),
            with(version, &"a".repeat(257), CachedRoute::Messages),
            with(version, "2023-06-01", CachedRoute::ChatCompletions),
        ] {
            assert_eq!(refusal.path, "cache.warmUp[1].headers", "{}", refusal.problem);
        }
    }
}
