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
    /// A name that clients may ask for in place of a model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
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

/// A name that leads to the model that suits a request: one of the fast ones for what is easy, one of quality for what is hard, and between, the first
/// and then the other one if the answer falls short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Automatic {
    /// The name.
    pub model: String,
    /// What is less complex is easy, percent.
    pub fast_below_percent: u16,
    /// What is more complex is hard, percent.
    pub quality_above_percent: u16,
}

/// What a model is good at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tier {
    /// Quick and cheap.
    Fast,
    /// Hard things.
    Quality,
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Task {
    Write,
    Change,
    Fix,
    Review,
    Test,
    Explain,
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
            automatic: None,
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
        self.automatic.as_ref().map_or(Ok(()), |automatic| automatic.validate(models))?;
        let rules = self.urgencies.len();
        check(rules <= MAX_RULES, "routing.urgencies", || {
            format!("has {rules} entries, more than {MAX_RULES}")
        })?;
        self.urgencies.iter().enumerate().try_for_each(|(index, rule)| rule.validate(index, models))
    }
}

impl Automatic {
    fn validate(&self, models: &HashSet<&str>) -> Checked {
        let Self { model, fast_below_percent: fast, quality_above_percent: quality } = self;
        name("routing.automatic.model", model)?;
        check(!models.contains(model.as_str()), "routing.automatic.model", || {
            format!("a backend has a model that clients call {model:?}")
        })?;
        check(*quality <= WHOLE_PERCENT, "routing.automatic.qualityAbovePercent", || {
            format!("{quality} is more than {WHOLE_PERCENT} percent")
        })?;
        check(fast <= quality, "routing.automatic.fastBelowPercent", || {
            format!("{fast} is more than qualityAbovePercent, which is {quality}")
        })
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
    fn an_automatic_name_is_no_models_and_its_bounds_are_in_order() {
        let models = HashSet::from(["big"]);
        let path = |model: &str, fast_below_percent, quality_above_percent| {
            let automatic = Automatic { model: model.into(), fast_below_percent, quality_above_percent };
            let routing = Routing { automatic: Some(automatic), ..Routing::default() };
            routing.validate(&models).err().map(|invalid| invalid.path)
        };
        assert_eq!(path("auto", 30, 30), None);
        assert_eq!(path("big", 30, 70).as_deref(), Some("routing.automatic.model"));
        assert_eq!(path("auto", 31, 30).as_deref(), Some("routing.automatic.fastBelowPercent"));
        assert_eq!(path("auto", 0, 101).as_deref(), Some("routing.automatic.qualityAbovePercent"));
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
