//! Which model answers a client that leaves that to the service: by what kind of work it is, and how hard. Pure.
//!
//! What is easy goes to a fast model, what is hard to one of quality. What is between is asked of a fast one, and of the other one if the answer falls
//! short; where the answer is streamed, it cannot be taken back, and the middle decides.

mod complexity;
mod task;

pub use complexity::{Complexity, Effort, Features};

use super::Route;
use codecrucible_contract::{Automatic, Task, Tier};

/// What a request shows, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Judged {
    /// How hard it is.
    pub complexity: Complexity,
    /// What kind of work it is, if that is known.
    pub task: Option<Task>,
}

/// Which model answers, and why.
#[derive(Clone)]
pub struct Choice<'a> {
    /// Its route.
    pub route: &'a Route,
    /// Where it goes if the answer falls short.
    pub escalated: Option<&'a Route>,
    /// By what it was chosen.
    pub judged: Judged,
}

impl Judged {
    /// Of what a request shows; what the client says of the task counts more than its words.
    pub fn of(features: &Features<'_>, task: Option<Task>) -> Self {
        Self { complexity: Complexity::of(features), task: task.or_else(|| task::task(features.last_words)) }
    }
}

/// Of all routes, those that may be asked.
pub(super) fn choose<'a>(
    automatic: &Automatic,
    routes: &'a [Route],
    judged: Judged,
    is_streamed: bool,
    may_be_asked: impl Fn(&Route) -> bool,
) -> Option<Choice<'a>> {
    let percent = judged.complexity.percent;
    let Automatic { fast_below_percent: fast, quality_above_percent: quality, .. } = *automatic;
    let is_between = (fast..=quality).contains(&percent);
    let (tier, other) = match percent {
        percent if percent < fast => (Tier::Fast, Tier::Quality),
        percent if percent > quality => (Tier::Quality, Tier::Fast),
        percent if is_streamed && percent >= u16::midpoint(fast, quality) => (Tier::Quality, Tier::Fast),
        _ => (Tier::Fast, Tier::Quality),
    };
    let of_tier = |tier| of_tier(routes, tier, judged.task, &may_be_asked);
    let route = of_tier(tier).or_else(|| of_tier(other))?;
    let may_escalate = is_between && !is_streamed && route.talent.tier == Some(Tier::Fast);
    let escalated = may_escalate.then(|| of_tier(Tier::Quality)).flatten();
    Some(Choice { route, escalated, judged })
}

/// The first that is for the task, else the first that is for any.
fn of_tier(
    routes: &[Route],
    tier: Tier,
    task: Option<Task>,
    may_be_asked: impl Fn(&Route) -> bool,
) -> Option<&Route> {
    let of_tier = || routes.iter().filter(|route| route.talent.tier == Some(tier));
    let is_for_it = |route: &&Route| task.is_some_and(|task| route.talent.tasks.contains(&task));
    let for_it = of_tier().filter(is_for_it).find(|route| may_be_asked(route));
    for_it
        .or_else(|| of_tier().filter(|route| route.talent.tasks.is_empty()).find(|route| may_be_asked(route)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Talent;
    use std::sync::Arc;

    const AUTOMATIC: Automatic =
        Automatic { model: String::new(), fast_below_percent: 30, quality_above_percent: 70 };

    fn route(name: &str, tier: Tier, tasks: &[Task]) -> Route {
        let talent = Talent { tier: Some(tier), tasks: tasks.into() };
        Route { public_model: Arc::new(name.into()), targets: Vec::new(), talent }
    }

    /// Which models are chosen, of these.
    fn chosen(routes: &[Route], percent: u16, task: Option<Task>, is_streamed: bool) -> (String, String) {
        let mut complexity = Complexity::of(&Features::default());
        complexity.percent = percent;
        let choice = choose(&AUTOMATIC, routes, Judged { complexity, task }, is_streamed, |_| true).unwrap();
        let name = |route: &Route| route.public_model.name().to_owned();
        (name(choice.route), choice.escalated.map(name).unwrap_or_default())
    }

    #[test]
    fn what_is_easy_goes_to_a_fast_model_and_what_is_between_on_to_one_of_quality() {
        let routes = [route("big", Tier::Quality, &[]), route("small", Tier::Fast, &[])];
        let expected = [
            (0, "small", ""),
            (29, "small", ""),
            (30, "small", "big"),
            (70, "small", "big"),
            (71, "big", ""),
        ];
        for (percent, model, escalated) in expected {
            assert_eq!(chosen(&routes, percent, None, false), (model.into(), escalated.into()), "{percent}");
        }
        for (percent, model) in [(29, "small"), (49, "small"), (50, "big"), (71, "big")] {
            assert_eq!(chosen(&routes, percent, None, true), (model.into(), String::new()), "{percent}");
        }
    }

    #[test]
    fn a_model_for_the_task_comes_before_one_for_all_and_one_for_another_task_never() {
        let routes = [
            route("reviewer", Tier::Fast, &[Task::Review]),
            route("small", Tier::Fast, &[]),
            route("fixer", Tier::Fast, &[Task::Fix]),
        ];
        assert_eq!(chosen(&routes, 0, Some(Task::Fix), false).0, "fixer");
        assert_eq!(chosen(&routes, 0, Some(Task::Test), false).0, "small");
        assert_eq!(chosen(&routes, 0, None, false).0, "small");
    }

    #[test]
    fn where_no_model_of_the_tier_may_be_asked_one_of_the_other_is_but_never_for_tasks_that_it_is_not_for() {
        let routes = [
            route("reviewer", Tier::Fast, &[Task::Review]),
            Route { talent: Talent::default(), ..route("embedding", Tier::Fast, &[]) },
            route("big", Tier::Quality, &[]),
        ];
        assert_eq!(chosen(&routes, 0, Some(Task::Write), false), ("big".into(), String::new()));
        assert_eq!(chosen(&routes, 50, Some(Task::Review), false), ("reviewer".into(), "big".into()));
        let judged = || Judged { complexity: Complexity::of(&Features::default()), task: None };
        let allowed = |model: &str| {
            let may = |route: &Route| route.public_model.name() == model;
            choose(&AUTOMATIC, &routes, judged(), false, may)
                .map(|choice| choice.route.public_model.name().to_owned())
        };
        assert_eq!((allowed("big"), allowed("embedding")), (Some("big".into()), None));
    }
}
