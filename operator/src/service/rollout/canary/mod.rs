//! Tries new pods out on a part of the requests, in a deployment beside the one that runs well, before all are replaced. Pure: the state
//! is what the two live deployments say.
//!
//! That something passed or failed is written into the service's own deployment first, and the other one goes at the next look. So an
//! operator that ends between the two goes on from there, and tries nothing out twice.

mod heard;
mod live;
mod rules;

pub(crate) use heard::{Heard, rounded};
pub(crate) use live::LiveCanary;
pub(crate) use rules::{CanaryRules, Step};

use super::failure::Failure;
use super::progress::Progress;
use super::rollback::{Chosen, Live, RolledBack, whole};
use super::trial::has_lasted;
use crate::service::history::Template;
use codecrucible_contract::Served;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Pause between two looks at new pods: they do not tell by themselves how they serve.
pub(crate) const CANARY_PAUSE: Duration = Duration::from_secs(5);

/// New pods that are tried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Canary {
    pub(crate) template: Template,
    /// Counted from 0.
    pub(crate) step: usize,
    /// Of how many.
    pub(crate) steps: usize,
    pub(crate) replicas: i32,
    /// Since when these are tried out; whole seconds.
    pub(crate) since: Timestamp,
    /// Since when they are at that step; whole seconds.
    pub(crate) step_since: Timestamp,
    /// Those that are ready.
    pub(crate) ready: i32,
    /// Whether somebody else has the name of their deployment, so that there are none.
    pub(crate) is_barred: bool,
    /// What the step is not over for, if it goes on.
    pub(crate) waits_for: Option<String>,
    /// What they said that they served.
    pub(crate) served: Served,
}

impl Canary {
    /// The step as people count it, from 1.
    pub(crate) fn number(&self) -> usize {
        self.step + 1
    }
}

/// What decides whether something is tried out, and what comes of it.
pub(crate) struct Tryout<'a> {
    pub(crate) rules: &'a CanaryRules,
    /// What the service's own pods are made from, and how they are.
    pub(crate) own: &'a Live,
    pub(crate) own_progress: &'a Progress,
    /// The same of those that are tried out.
    pub(crate) live: &'a LiveCanary,
    pub(crate) progress: &'a Progress,
    pub(crate) heard: &'a Heard,
    /// How long new pods may be missing.
    pub(crate) deadline: Duration,
    /// Whether somebody else has the deployment's name.
    pub(crate) is_barred: bool,
}

impl Tryout<'_> {
    /// Leaves what ran well in place of what was chosen while that is tried out.
    pub(crate) fn decide(
        &self,
        chosen: Chosen,
        last_good: &Template,
        now: Timestamp,
        failure: impl FnOnce() -> Option<Failure>,
    ) -> Chosen {
        if chosen.rolled_back.is_some() || !self.is_tried(&chosen, last_good) {
            return chosen;
        }
        // Nothing can be tried out while there is no replica; it begins when there is one again.
        let canary = (self.own_progress.desired > 0).then(|| self.canary(&chosen.template, now));
        let stay = |rolled_back, canary| Chosen {
            template: last_good.clone(),
            rolled_back,
            since: self.own.since(last_good, now),
            canary,
        };
        let has_begun = self.live.pods.is_made_from(&chosen.template) && !self.is_barred;
        let canary = match canary {
            Some(canary) if has_begun => canary,
            canary => return stay(None, canary),
        };
        if let Some(Failure(because)) =
            failure().or_else(|| self.missing(&canary, now)).or_else(|| self.rules.unfit(&self.heard.served))
        {
            let because = format!("in step {} of the canary: {because}", canary.number());
            return stay(Some(RolledBack { from: chosen.template.key, because }), Some(canary));
        }
        let waits_for = self.waits_for(&canary, now);
        if waits_for.is_some() {
            return stay(None, Some(Canary { waits_for, ..canary }));
        }
        if canary.number() < canary.steps {
            let next = self.at_step(canary.step + 1, Canary { step_since: whole(now), ..canary });
            return stay(None, Some(next));
        }
        Chosen { canary: Some(canary), ..chosen }
    }

    /// Whether what was chosen is to be tried out, and has not passed.
    fn is_tried(&self, chosen: &Chosen, last_good: &Template) -> bool {
        let is_new = chosen.template.key != last_good.key;
        let has_passed = self.own.is_made_from(&chosen.template);
        // Clients would find the one on one connection, and the other on the next; and there is one policy for all, which only the
        // ones or the others could load.
        let is_alike =
            chosen.template.shows() == last_good.shows() && chosen.template.claims().eq(last_good.claims());
        is_new && !has_passed && is_alike
    }

    /// What is tried out, as it is now, or at its beginning.
    fn canary(&self, template: &Template, now: Timestamp) -> Canary {
        let live = Some(self.live).filter(|live| live.pods.is_made_from(template));
        let canary = Canary {
            template: template.clone(),
            step: 0,
            steps: self.rules.steps.len(),
            replicas: 0,
            since: live.and_then(|live| live.pods.since).unwrap_or(whole(now)),
            step_since: live
                .and_then(|live| live.step_since)
                .map_or(whole(now), |since| since.min(whole(now))),
            ready: live.map_or(0, |_| self.progress.ready),
            is_barred: self.is_barred,
            waits_for: self
                .is_barred
                .then(|| "the Deployment of that name to go, which somebody else has".into()),
            served: live.map_or_else(Served::default, |_| self.heard.served.clone()),
        };
        self.at_step(live.map_or(0, |live| live.step), canary)
    }

    /// At a step, or the last one, where there were more before.
    fn at_step(&self, step: usize, canary: Canary) -> Canary {
        let step = step.min(self.rules.steps.len().saturating_sub(1));
        let replicas = self.rules.steps.get(step).map_or(1, |step| step.replicas(self.own_progress.desired));
        Canary { step, replicas, ..canary }
    }

    /// What a step is not over for: it must take long enough, all its pods must serve, and they must have served enough.
    fn waits_for(&self, canary: &Canary, now: Timestamp) -> Option<String> {
        let hold = self.rules.steps.get(canary.step).map_or(Duration::MAX, |step| step.hold);
        let is_complete = self.progress.is_complete() && self.progress.desired == canary.replicas;
        let are_well = usize::try_from(canary.replicas).is_ok_and(|all| self.heard.well >= all);
        let minimum = self.rules.minimum_requests;
        if !is_complete {
            return Some("all of them to be ready".into());
        }
        if !are_well {
            return Some("each of them to say that it runs a policy and refuses none".into());
        }
        if !has_lasted(canary.step_since, hold, now) {
            let until =
                SignedDuration::try_from(hold).ok().and_then(|hold| canary.step_since.checked_add(hold).ok());
            return Some(until.map_or_else(|| "its end".into(), |until| until.to_string()));
        }
        (self.heard.served.requests < minimum).then(|| format!("{minimum} requests"))
    }

    /// New pods that are not there in time. What a deployment says of its progress ends when it was complete once.
    fn missing(&self, canary: &Canary, now: Timestamp) -> Option<Failure> {
        let since = self.progress.unavailable_since?.max(canary.step_since);
        let is_late = self.progress.is_observed && has_lasted(since, self.deadline, now);
        let because = || {
            self.progress.replica_failure.clone().unwrap_or_else(|| "some of its pods are not ready".into())
        };
        is_late.then(|| Failure(because()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::child::Child;
    use crate::service::rollout::choose;
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, proptest};
    use proptest::{prop_assert, prop_assert_eq};
    use serde_json::json;

    /// When the pods came, and when the step began.
    const BEGIN: Timestamp = Timestamp::constant(1_000, 0);
    const SOON: Timestamp = Timestamp::constant(1_010, 0);
    const LATER: Timestamp = Timestamp::constant(1_060, 0);

    fn template(image: &str) -> Template {
        Template::new(json!({"image": image}))
    }

    fn rules() -> CanaryRules {
        let step = |weight_percent| Step { weight_percent, hold: Duration::from_secs(60) };
        CanaryRules {
            steps: vec![step(10), step(50)],
            minimum_requests: 20,
            max_error_percent: 5,
            max_latency_milliseconds: None,
        }
    }

    fn progress(count: i32) -> Progress {
        Progress {
            desired: count,
            replicas: count,
            ready: count,
            available: count,
            updated: count,
            is_observed: true,
            ..Progress::default()
        }
    }

    fn chosen(template: &Template) -> Chosen {
        Chosen { template: template.clone(), rolled_back: None, since: None, canary: None }
    }

    /// Three pods that are well served so much together.
    fn heard(requests: u64, failed: u64) -> Heard {
        Heard { served: Served { requests, failed, within: vec![requests] }, well: 3 }
    }

    /// A service of three replicas of `good`, beside which `new` may be tried out.
    struct Scene {
        rules: CanaryRules,
        own: Live,
        own_progress: Progress,
        live: LiveCanary,
        progress: Progress,
        heard: Heard,
        failure: Option<Failure>,
        is_barred: bool,
    }

    impl Scene {
        /// Nothing is tried out yet.
        fn before() -> Self {
            Self {
                rules: rules(),
                own: Live { template: Some(template("good").key), rolled_back: None, since: Some(BEGIN) },
                own_progress: progress(3),
                live: LiveCanary::default(),
                progress: Progress::default(),
                heard: Heard::default(),
                failure: None,
                is_barred: false,
            }
        }

        /// A pod of `new` has been at a step for as long as it takes, and serves well.
        fn at_step(step: usize) -> Self {
            let key = template("new").key;
            Self {
                live: LiveCanary {
                    pods: Live { template: Some(key), rolled_back: None, since: Some(BEGIN) },
                    step,
                    step_since: Some(BEGIN),
                },
                progress: progress(if step == 0 { 1 } else { 3 }),
                heard: heard(20, 1),
                ..Self::before()
            }
        }

        fn tryout(&self) -> Tryout<'_> {
            Tryout {
                rules: &self.rules,
                own: &self.own,
                own_progress: &self.own_progress,
                live: &self.live,
                progress: &self.progress,
                heard: &self.heard,
                deadline: Duration::from_secs(30),
                is_barred: self.is_barred,
            }
        }

        fn decide(&self, now: Timestamp) -> Chosen {
            self.tryout().decide(chosen(&template("new")), &template("good"), now, || self.failure.clone())
        }

        /// What the service's own pods are made from, and what step is tried out, with how many pods.
        fn outcome(&self, now: Timestamp) -> (Template, Option<(usize, i32)>) {
            let Chosen { template, canary, .. } = self.decide(now);
            (template, canary.map(|canary| (canary.step, canary.replicas)))
        }

        fn failure(&self) -> String {
            let chosen = self.decide(LATER);
            assert_eq!(chosen.template, template("good"));
            assert!(chosen.canary.is_some(), "the pods stay until it is noted that they failed");
            let RolledBack { from, because } = chosen.rolled_back.unwrap();
            assert_eq!(from, template("new").key);
            because
        }
    }

    #[test]
    fn new_pods_are_tried_out_beside_those_that_run_well_step_by_step() {
        let good = template("good");
        assert_eq!(Scene::before().outcome(SOON), (good.clone(), Some((0, 1))));
        assert_eq!(Scene::at_step(0).outcome(SOON), (good.clone(), Some((0, 1))), "it is held");
        assert_eq!(Scene::at_step(0).outcome(LATER), (good, Some((1, 3))));
        let promoted = Scene::at_step(1).decide(LATER);
        assert_eq!(promoted.template, template("new"));
        assert!(promoted.canary.is_some(), "the pods stay until the service's own are being replaced");
        let mut passed = Scene::at_step(1);
        passed.own.template = Some(template("new").key);
        assert_eq!(passed.outcome(LATER), (template("new"), None));
    }

    #[test]
    fn a_step_is_over_only_when_its_pods_serve_and_have_served_enough() {
        let stays = (template("good"), Some((0, 1)));
        let scene = |change: fn(&mut Scene)| {
            let mut scene = Scene::at_step(0);
            change(&mut scene);
            scene.outcome(LATER)
        };
        assert_eq!(scene(|scene| scene.heard = heard(19, 0)), stays);
        assert_eq!(scene(|scene| scene.heard = heard(19, 19)), stays, "too few to be judged by");
        assert_eq!(scene(|scene| scene.progress.available = 0), stays);
        assert_eq!(scene(|scene| scene.heard.well = 0), stays);
        assert_eq!(scene(|_| {}).1, Some((1, 3)));
    }

    #[test]
    fn pods_that_fail_or_answer_badly_or_slowly_go_and_stay_away() {
        let failing = Scene { failure: Some(Failure("no such image".into())), ..Scene::at_step(0) };
        assert_eq!(failing.failure(), "in step 1 of the canary: no such image");
        let wrong = Scene { heard: heard(20, 2), ..Scene::at_step(1) };
        assert_eq!(wrong.failure(), "in step 2 of the canary: 2 of 20 requests failed, more than 5 %");
        let mut slow = Scene::at_step(0);
        slow.rules.max_latency_milliseconds = Some(100);
        slow.heard.served = Served { requests: 20, failed: 0, within: vec![18, 0, 0, 0, 2] };
        assert_eq!(
            slow.failure(),
            "in step 1 of the canary: only 18 of 20 answers began within 100 ms, fewer than 95 %"
        );
        slow.heard.served.within = vec![19, 0, 0, 0, 1];
        assert_eq!(slow.outcome(LATER).1, Some((1, 3)));
    }

    #[test]
    fn what_was_taken_back_is_not_tried_out_again() {
        let back = RolledBack { from: template("new").key, because: "no such image".into() };
        let back = Chosen { rolled_back: Some(back), ..chosen(&template("good")) };
        let led = Scene::at_step(0).tryout().decide(back.clone(), &template("good"), LATER, || None);
        assert_eq!(led, back);
    }

    #[test]
    fn pods_that_are_missing_for_too_long_have_failed_in_any_step() {
        let mut scene = Scene::at_step(1);
        scene.progress = Progress { available: 1, unavailable_since: Some(SOON), ..progress(3) };
        let soon = scene.decide(SOON).canary.unwrap();
        assert_eq!(soon.waits_for.as_deref(), Some("all of them to be ready"));
        assert_eq!(scene.failure(), "in step 2 of the canary: some of its pods are not ready");
        scene.progress.replica_failure = Some("exceeded quota: q".into());
        assert_eq!(scene.failure(), "in step 2 of the canary: exceeded quota: q");
    }

    #[test]
    fn while_a_service_sleeps_nothing_is_tried_out_and_nothing_passes() {
        let mut asleep = Scene::at_step(1);
        asleep.own_progress = progress(0);
        assert_eq!(asleep.outcome(LATER), (template("good"), None));
        let barred = Scene { is_barred: true, ..Scene::before() };
        let waiting = barred.decide(LATER);
        assert!(!waiting.calls_for(Child::Canary) && waiting.template == template("good"));
        assert!(waiting.canary.unwrap().waits_for.unwrap().ends_with("which somebody else has"));
        let mut down = Scene::before();
        down.own_progress.available = 0;
        assert_eq!(down.outcome(SOON), (template("good"), Some((0, 1))));
    }

    #[test]
    fn what_clients_would_find_on_some_connections_only_and_other_models_are_not_tried_out() {
        let encrypted = Template::new(json!({"spec": {"containers": [{"args": ["--tls"]}]}}));
        assert_ne!(encrypted.shows(), template("good").shows());
        let led = Scene::before().tryout().decide(chosen(&encrypted), &template("good"), SOON, || None);
        assert_eq!(led, chosen(&encrypted));
        let claim = json!({"name": "model-local", "persistentVolumeClaim": {"claimName": "models"}});
        let with_a_model = Template::new(json!({"spec": {"volumes": [claim]}}));
        let led = Scene::before().tryout().decide(chosen(&with_a_model), &template("good"), SOON, || None);
        assert_eq!(led, chosen(&with_a_model));
    }

    #[test]
    fn a_step_tells_what_it_waits_for() {
        let waits_for = |scene: &Scene, now| scene.decide(now).canary.unwrap().waits_for.unwrap();
        let mut scene = Scene::at_step(0);
        assert_eq!(waits_for(&scene, SOON), "1970-01-01T00:17:40Z");
        scene.heard = heard(3, 0);
        assert_eq!(waits_for(&scene, LATER), "20 requests");
        scene.heard.well = 0;
        assert!(waits_for(&scene, LATER).starts_with("each of them to say"));
    }

    #[test]
    fn something_newer_begins_anew_and_steps_that_are_gone_are_the_last_one() {
        let mut other = Scene::at_step(1);
        other.live.pods.template = Some(template("other").key);
        let canary = other.decide(LATER).canary.unwrap();
        assert_eq!((canary.step, canary.step_since, canary.ready), (0, LATER, 0));
        let mut fewer = Scene::at_step(1);
        fewer.rules.steps.truncate(1);
        fewer.progress = progress(1);
        assert_eq!(fewer.decide(SOON).canary.unwrap().step, 0);
        assert_eq!(fewer.decide(LATER).template, template("new"));
    }

    #[test]
    fn a_step_whose_beginning_nobody_knows_begins_now() {
        let mut scene = Scene::at_step(0);
        scene.live.step_since = None;
        let canary = scene.decide(LATER).canary.unwrap();
        assert_eq!((canary.step, canary.step_since), (0, LATER));
        scene.live.step_since = Some(LATER);
        assert_eq!(scene.decide(SOON).canary.unwrap().step_since, SOON, "that is to come");
    }

    impl LiveCanary {
        /// What the deployment says after it was written.
        fn written(canary: Option<&Canary>) -> Self {
            canary.map_or_else(Self::default, |canary| Self {
                pods: Live {
                    template: Some(canary.template.key.clone()),
                    rolled_back: None,
                    since: Some(canary.since),
                },
                step: canary.step,
                step_since: Some(canary.step_since),
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Each look asks for one of three templates, comes after a while in which new pods answered some requests, and may see them
        /// fail.
        #[test]
        fn what_replaces_all_pods_was_tried_out_and_what_failed_is_not_tried_again(
            looks in vec((0_u8..3, 1_i64..100, 0_u64..15, 0_u8..10), 1..80)
        ) {
            let (mut scene, mut good, mut now) = (Scene::before(), template("0"), BEGIN);
            scene.own.template = Some(good.key.clone());
            let mut failed: Option<String> = None;
            for (wanted, seconds, requests, luck) in looks {
                let wanted = template(&wanted.to_string());
                now += SignedDuration::from_secs(seconds);
                let is_live = scene.live.pods.template.as_ref() == Some(&wanted.key);
                let before = if is_live { scene.heard.served.requests } else { 0 };
                scene.heard = heard(before + if is_live { requests } else { 0 }, 0);
                scene.failure = (luck == 0).then(|| Failure("it fails".into()));
                let chosen = choose(wanted.clone(), &scene.own, Some(&good), now, || None);
                let chosen = scene.tryout().decide(chosen, &good, now, || scene.failure.clone());

                if failed.as_ref() == Some(&wanted.key) {
                    prop_assert_eq!((&chosen.template, &chosen.canary), (&good, &None));
                }
                if chosen.template != good && scene.own.template.as_ref() != Some(&wanted.key) {
                    let held = scene.live.step_since.map(|since| now.duration_since(since).as_secs());
                    prop_assert!(is_live && scene.live.step == 1 && held >= Some(60));
                    prop_assert!(scene.heard.served.requests >= scene.rules.minimum_requests && luck != 0);
                }
                if chosen.canary.is_some() {
                    prop_assert!(chosen.rolled_back.is_some() || luck != 0 || !is_live, "it failed and stays");
                }
                failed = chosen.rolled_back.as_ref().map(|back| back.from.clone());
                let replicas = chosen.canary.as_ref().map_or(0, |canary| canary.replicas);
                scene.live = LiveCanary::written(chosen.canary.as_ref());
                scene.progress = progress(replicas);
                scene.own = Live { template: Some(chosen.template.key.clone()), rolled_back: chosen.rolled_back, since: None };
                if chosen.template == wanted && luck > 5 {
                    good = wanted;
                }
            }
        }
    }
}
