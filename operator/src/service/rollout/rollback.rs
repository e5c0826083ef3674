//! Whether pods are made from what the resource asks for, or from what ran well before because that failed.
//!
//! What was taken back, and why, is written with the deployment in the same write as the older template: an operator
//! that ends right after it does not try the one that failed again.

use super::canary::Canary;
use super::failure::Failure;
use crate::service::child::Child;
use crate::service::history::Template;
use codecrucible_crds::names;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

/// What a service's pods are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) template: Template,
    /// What it is in place of.
    pub(crate) rolled_back: Option<RolledBack>,
    /// Since when the deployment asks for it; whole seconds.
    pub(crate) since: Option<Timestamp>,
    /// What is tried out beside it.
    pub(crate) canary: Option<Canary>,
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
    /// Since when.
    pub(crate) since: Option<Timestamp>,
}

impl Chosen {
    /// Whether a child is there that a resource wants: the deployment of pods that are tried out comes and goes with them.
    pub(crate) fn calls_for(&self, child: Child) -> bool {
        child != Child::Canary || self.canary.as_ref().is_some_and(|canary| !canary.is_barred)
    }
}

impl Live {
    pub(crate) fn of(deployment: Option<&DynamicObject>) -> Self {
        let annotation = |name| deployment?.annotations().get(name).cloned();
        let from = annotation(names::ANNOTATION_ROLLED_BACK_FROM);
        let rolled_back = from.map(|from| RolledBack {
            from,
            because: annotation(names::ANNOTATION_ROLLED_BACK_BECAUSE).unwrap_or_default(),
        });
        let since = annotation(names::ANNOTATION_TEMPLATE_SINCE).and_then(|since| since.parse().ok());
        Self { template: annotation(names::ANNOTATION_TEMPLATE), rolled_back, since }
    }

    /// Since when the deployment asks for a template: as long as it has, or from now on.
    pub(super) fn since(&self, template: &Template, now: Timestamp) -> Option<Timestamp> {
        if self.is_made_from(template) {
            return self.since;
        }
        Some(whole(now))
    }

    /// Whether it asks for pods of a template.
    pub(super) fn is_made_from(&self, template: &Template) -> bool {
        self.template.as_deref() == Some(&*template.key)
    }

    /// Whether pods are, or may have to be, made from something else than what ran well last.
    pub(crate) fn is_on_the_way(&self, last_good: &str) -> bool {
        self.rolled_back.is_some() || self.template.as_deref() != Some(last_good)
    }
}

/// As annotations keep it.
pub(super) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Chooses. A template that failed stays away for as long as it is what the resource asks for.
pub(crate) fn choose(
    wanted: Template,
    live: &Live,
    last_good: Option<&Template>,
    now: Timestamp,
    failure: impl FnOnce() -> Option<Failure>,
) -> Chosen {
    let chosen = |template, rolled_back| {
        let since = live.since(&template, now);
        Chosen { template, rolled_back, since, canary: None }
    };
    let Some(last_good) = last_good.filter(|last_good| last_good.key != wanted.key) else {
        return chosen(wanted, None);
    };
    let failed_before = live.rolled_back.clone().filter(|rolled_back| rolled_back.from == wanted.key);
    let fails_now = || {
        let Failure(because) = failure().filter(|_| live.is_made_from(&wanted))?;
        Some(RolledBack { from: wanted.key.clone(), because })
    };
    match failed_before.or_else(fails_now) {
        Some(rolled_back) => chosen(last_good.clone(), Some(rolled_back)),
        None => chosen(wanted, None),
    }
}

/// Stays at what ran well while something new must not begin yet.
pub(crate) fn hold(chosen: Chosen, live: &Live, last_good: Option<&Template>, now: Timestamp) -> Chosen {
    let has_begun = live.is_made_from(&chosen.template);
    match last_good.filter(|_| !has_begun && chosen.rolled_back.is_none()) {
        Some(last_good) => {
            let since = live.since(last_good, now);
            Chosen { template: last_good.clone(), rolled_back: None, since, canary: None }
        }
        None => chosen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(image: &str) -> Template {
        Template::new(json!({"image": image}))
    }

    const NOW: Timestamp = Timestamp::constant(2_000, 0);

    fn live(template: &Template, rolled_back: Option<&RolledBack>) -> Live {
        let since = Timestamp::from_second(1_000).ok();
        Live { template: Some(template.key.clone()), rolled_back: rolled_back.cloned(), since }
    }

    fn fails() -> Option<Failure> {
        Some(Failure("no such image".into()))
    }

    /// The template that is chosen, and which one it is in place of.
    fn chosen(
        wanted: &Template,
        live: &Live,
        last_good: Option<&Template>,
        failure: impl FnOnce() -> Option<Failure>,
    ) -> (Template, Option<RolledBack>) {
        let Chosen { template, rolled_back, .. } = choose(wanted.clone(), live, last_good, NOW, failure);
        (template, rolled_back)
    }

    #[test]
    fn what_fails_is_taken_back_and_stays_back_until_something_else_is_asked_for() {
        let (good, bad, other) = (template("good"), template("bad"), template("other"));
        let rolled_back = RolledBack { from: bad.key.clone(), because: "no such image".into() };
        let back = (good.clone(), Some(rolled_back.clone()));
        assert_eq!(chosen(&bad, &live(&bad, None), Some(&good), fails), back);
        // Now the good one runs well.
        let state = live(&good, Some(&rolled_back));
        assert_eq!(chosen(&bad, &state, Some(&good), || None), back);
        assert_eq!(chosen(&other, &state, Some(&good), || None), (other, None));
        assert_eq!(chosen(&good, &state, Some(&good), || None), (good, None));
        assert_eq!(chosen(&bad, &state, None, || None), (bad, None), "who does not want to go back");
    }

    #[test]
    fn without_something_that_ran_well_nothing_is_taken_back() {
        let bad = template("bad");
        assert_eq!(chosen(&bad, &live(&bad, None), None, fails).0, bad);
        assert_eq!(chosen(&bad, &live(&bad, None), Some(&bad), fails).0, bad);
    }

    #[test]
    fn a_failure_of_what_runs_now_says_nothing_of_what_is_asked_for() {
        let (good, bad, next) = (template("good"), template("bad"), template("next"));
        assert_eq!(chosen(&next, &live(&bad, None), Some(&good), fails).0, next);
    }

    #[test]
    fn what_waits_to_begin_leaves_what_ran_well_and_what_has_begun_goes_on() {
        let (good, next) = (template("good"), template("next"));
        let held = |live: &Live, last_good| {
            hold(choose(next.clone(), live, None, NOW, || None), live, last_good, NOW)
        };
        let waits = held(&live(&good, None), Some(&good));
        assert_eq!((waits.template, waits.since), (good.clone(), Timestamp::from_second(1_000).ok()));
        assert_eq!(held(&live(&next, None), Some(&good)).template, next);
        assert_eq!(held(&live(&good, None), None).template, next);
    }

    #[test]
    fn the_time_of_a_template_is_that_of_its_coming() {
        let (one, other) = (template("one"), template("other"));
        let since = |wanted: &Template| choose(wanted.clone(), &live(&one, None), None, NOW, || None).since;
        assert_eq!(since(&one), Timestamp::from_second(1_000).ok());
        assert_eq!(since(&other), Some(NOW));
    }

    #[test]
    fn a_deployment_tells_what_its_pods_are_made_from() {
        let rolled_back = RolledBack { from: "b".into(), because: "no such image".into() };
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "annotations": {
            "codecrucible.dev/template": "a", "codecrucible.dev/rolled-back-from": "b",
            "codecrucible.dev/rolled-back-because": "no such image"}}});
        let live = Live::of(Some(&serde_json::from_value(object).unwrap()));
        assert_eq!(live, Live { template: Some("a".into()), rolled_back: Some(rolled_back), since: None });
        assert_eq!(Live::of(None), Live::default());
        assert!(live.is_on_the_way("a"));
        let settled = Live { template: Some("a".into()), rolled_back: None, since: None };
        assert!(settled.is_on_the_way("c") && !settled.is_on_the_way("a"));
    }
}
