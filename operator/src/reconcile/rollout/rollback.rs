//! Whether pods are made from what the resource asks for, or from what ran well before because that failed.
//!
//! What was taken back, and why, is written with the deployment in the same write as the older template: an operator
//! that ends right after it does not try the one that failed again.

use super::failure::Failure;
use crate::reconcile::history::Template;
use codecrucible_crds::names;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

/// What a service's pods are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) template: Template,
    /// What it is in place of.
    pub(crate) rolled_back: Option<RolledBack>,
}

/// A template that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RolledBack {
    /// Its key.
    pub(crate) from: String,
    pub(crate) because: String,
}

/// What the live deployment says of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// The key of what they are made from.
    pub(crate) template: Option<String>,
    pub(crate) rolled_back: Option<RolledBack>,
}

impl Live {
    pub(crate) fn of(deployment: Option<&DynamicObject>) -> Self {
        let annotation = |name| deployment?.annotations().get(name).cloned();
        let from = annotation(names::ANNOTATION_ROLLED_BACK_FROM);
        let rolled_back = from.map(|from| RolledBack {
            from,
            because: annotation(names::ANNOTATION_ROLLED_BACK_BECAUSE).unwrap_or_default(),
        });
        Self { template: annotation(names::ANNOTATION_TEMPLATE), rolled_back }
    }

    /// Whether pods are, or may have to be, made from something else than what ran well last.
    pub(crate) fn is_on_the_way(&self, last_good: &str) -> bool {
        self.rolled_back.is_some() || self.template.as_deref() != Some(last_good)
    }
}

/// Chooses. A template that failed stays away for as long as it is what the resource asks for.
pub(crate) fn choose(
    wanted: Template,
    live: &Live,
    last_good: Option<&Template>,
    failure: impl FnOnce() -> Option<Failure>,
) -> Chosen {
    let as_wanted = |template| Chosen { template, rolled_back: None };
    let Some(last_good) = last_good.filter(|last_good| last_good.key != wanted.key) else {
        return as_wanted(wanted);
    };
    let failed_before = live.rolled_back.clone().filter(|rolled_back| rolled_back.from == wanted.key);
    let fails_now = || {
        let Failure(because) = failure().filter(|_| live.template.as_deref() == Some(&*wanted.key))?;
        Some(RolledBack { from: wanted.key.clone(), because })
    };
    match failed_before.or_else(fails_now) {
        Some(rolled_back) => Chosen { template: last_good.clone(), rolled_back: Some(rolled_back) },
        None => as_wanted(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(image: &str) -> Template {
        Template::new(json!({"image": image}))
    }

    fn live(template: &Template, rolled_back: Option<&RolledBack>) -> Live {
        Live { template: Some(template.key.clone()), rolled_back: rolled_back.cloned() }
    }

    fn fails() -> Option<Failure> {
        Some(Failure("no such image".into()))
    }

    #[test]
    fn what_fails_is_taken_back_and_stays_back_until_something_else_is_asked_for() {
        let (good, bad, other) = (template("good"), template("bad"), template("other"));
        let back = choose(bad.clone(), &live(&bad, None), Some(&good), fails);
        let rolled_back = RolledBack { from: bad.key.clone(), because: "no such image".into() };
        assert_eq!(back, Chosen { template: good.clone(), rolled_back: Some(rolled_back.clone()) });
        // Now the good one runs well.
        let state = live(&good, Some(&rolled_back));
        assert_eq!(choose(bad, &state, Some(&good), || None), back);
        let forward = choose(other.clone(), &state, Some(&good), || None);
        assert_eq!(forward, Chosen { template: other, rolled_back: None });
        let asked_for_again = choose(good.clone(), &state, Some(&good), || None);
        assert_eq!(asked_for_again, Chosen { template: good, rolled_back: None });
    }

    #[test]
    fn without_something_that_ran_well_nothing_is_taken_back() {
        let bad = template("bad");
        assert_eq!(choose(bad.clone(), &live(&bad, None), None, fails).template, bad);
        assert_eq!(choose(bad.clone(), &live(&bad, None), Some(&bad), fails).template, bad);
    }

    #[test]
    fn a_failure_of_what_runs_now_says_nothing_of_what_is_asked_for() {
        let (good, bad, next) = (template("good"), template("bad"), template("next"));
        assert_eq!(choose(next.clone(), &live(&bad, None), Some(&good), fails).template, next);
    }

    #[test]
    fn a_deployment_tells_what_its_pods_are_made_from() {
        let rolled_back = RolledBack { from: "b".into(), because: "no such image".into() };
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "annotations": {
            "codecrucible.dev/template": "a", "codecrucible.dev/rolled-back-from": "b",
            "codecrucible.dev/rolled-back-because": "no such image"}}});
        let live = Live::of(Some(&serde_json::from_value(object).unwrap()));
        assert_eq!(live, Live { template: Some("a".into()), rolled_back: Some(rolled_back) });
        assert_eq!(Live::of(None), Live::default());
        assert!(live.is_on_the_way("a"));
        let settled = Live { template: Some("a".into()), rolled_back: None };
        assert!(settled.is_on_the_way("c") && !settled.is_on_the_way("a"));
    }
}
