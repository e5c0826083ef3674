//! Which backends are asked, what becomes of requests whose backend fails, and whose go first where there is no room for all.

use crate::policy::is_default;
use crate::validate::{Checked, WHOLE_PERCENT, check, name};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// Most rules of one policy.
const MAX_RULES: usize = 32;
/// Most models or namespaces that one rule names.
const MAX_NAMED: usize = 64;
/// Shortest and longest silence after which another backend is asked too, milliseconds (10 ms, 10 minutes).
const HEDGED_AFTER_MS: RangeInclusive<u64> = 10..=600_000;

/// Which backends are asked, and what becomes of requests whose backend fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Routing {
    /// Attempts beyond the first, as a share of the requests, percent.
    pub retry_budget_percent: u16,
    /// Which of several equal backends a prompt is asked of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub affinity: Affinity,
    /// After so long without a first byte another backend of the same priority is asked too, once, milliseconds; never, if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_after_ms: Option<u64>,
    /// Of the backends of one model and priority at most this share is left alone for failing, percent; where it is more, all are asked.
    #[serde(default = "all_of_them", skip_serializing_if = "is_all_of_them")]
    pub max_resting_percent: u16,
    /// How urgent requests are that wait for a backend: the first rule that applies decides; where none does, it is as usual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urgencies: Vec<UrgencyRule>,
    /// The namespace of the service's own client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Which of several equal backends a prompt is asked of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Affinity {
    /// The one that has less to do and answers sooner.
    #[default]
    None,
    /// The one that is asked all that begin so, unless it has much more to do than the others.
    PromptPrefix,
}

/// How urgent a request is: the more urgent comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Urgency {
    High,
    #[default]
    Normal,
    Low,
}

impl Urgency {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// How urgent some requests are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrgencyRule {
    /// So much.
    pub urgency: Urgency,
    /// The models that it applies to, by the names that clients use; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The namespaces to whose clients it applies; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

const fn all_of_them() -> u16 {
    WHOLE_PERCENT
}

fn is_all_of_them(percent: &u16) -> bool {
    *percent == all_of_them()
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            retry_budget_percent: 20,
            affinity: Affinity::None,
            hedge_after_ms: None,
            max_resting_percent: all_of_them(),
            urgencies: Vec::new(),
            namespace: String::new(),
        }
    }
}

impl Routing {
    /// How urgent a request of a namespace's client for a model is.
    pub fn urgency(&self, namespace: &str, model: &str) -> Urgency {
        let is_named =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|named| named == name);
        let applies =
            |rule: &&UrgencyRule| is_named(&rule.namespaces, namespace) && is_named(&rule.models, model);
        self.urgencies.iter().find(applies).map_or(Urgency::Normal, |rule| rule.urgency)
    }

    pub(crate) fn validate(&self, models: &HashSet<&str>) -> Checked {
        let percent = self.retry_budget_percent;
        check(percent <= WHOLE_PERCENT, "routing.retryBudgetPercent", || {
            format!("{percent} is more than {WHOLE_PERCENT} percent")
        })?;
        if let Some(after) = self.hedge_after_ms {
            check(HEDGED_AFTER_MS.contains(&after), "routing.hedgeAfterMs", || {
                let (least, most) = (HEDGED_AFTER_MS.start(), HEDGED_AFTER_MS.end());
                format!("{after} is outside {least} to {most} milliseconds")
            })?;
        }
        let percent = self.max_resting_percent;
        check(percent <= WHOLE_PERCENT, "routing.maxRestingPercent", || {
            format!("{percent} is more than {WHOLE_PERCENT} percent")
        })?;
        let rules = self.urgencies.len();
        check(rules <= MAX_RULES, "routing.urgencies", || {
            format!("has {rules} entries, more than {MAX_RULES}")
        })?;
        self.urgencies.iter().enumerate().try_for_each(|(index, rule)| rule.validate(index, models))
    }
}

impl UrgencyRule {
    fn validate(&self, index: usize, models: &HashSet<&str>) -> Checked {
        let path = format!("routing.urgencies[{index}]");
        for (field, names) in [("models", &self.models), ("namespaces", &self.namespaces)] {
            check(names.len() <= MAX_NAMED, &format!("{path}.{field}"), || {
                format!("has {} entries, more than {MAX_NAMED}", names.len())
            })?;
            names
                .iter()
                .enumerate()
                .try_for_each(|(index, named)| name(&format!("{path}.{field}[{index}]"), named))?;
        }
        self.models.iter().enumerate().try_for_each(|(index, model)| {
            check(models.contains(model.as_str()), &format!("{path}.models[{index}]"), || {
                format!("no backend has a model that clients call {model:?}")
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(urgency: Urgency, models: &[&str], namespaces: &[&str]) -> UrgencyRule {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        UrgencyRule { urgency, models: owned(models), namespaces: owned(namespaces) }
    }

    #[test]
    fn the_first_rule_that_applies_says_how_urgent_a_request_is() {
        let urgencies = vec![
            rule(Urgency::Low, &["big"], &["batch"]),
            rule(Urgency::High, &[], &["batch", "shop"]),
            rule(Urgency::Low, &["small"], &[]),
        ];
        let routing = Routing { urgencies, ..Routing::default() };
        assert_eq!(routing.urgency("batch", "big"), Urgency::Low);
        assert_eq!(routing.urgency("batch", "small"), Urgency::High);
        assert_eq!(routing.urgency("other", "small"), Urgency::Low);
        assert_eq!(routing.urgency("other", "big"), Urgency::Normal);
    }

    #[test]
    fn a_rule_names_models_that_there_are() {
        let models = HashSet::from(["big"]);
        let path = |rule| {
            let routing = Routing { urgencies: vec![rule], ..Routing::default() };
            routing.validate(&models).err().map(|invalid| invalid.path)
        };
        assert_eq!(path(rule(Urgency::High, &["big"], &["a"])), None);
        assert_eq!(
            path(rule(Urgency::High, &["bg"], &[])).as_deref(),
            Some("routing.urgencies[0].models[0]")
        );
        let many = vec!["n"; MAX_NAMED + 1];
        assert_eq!(path(rule(Urgency::High, &[], &many)).as_deref(), Some("routing.urgencies[0].namespaces"));
    }
}
