//! Which model answers a client that leaves that to the service: by what kind of work it is, and how hard. Pure.
//!
//! What is easy goes to a fast model, what is hard to one of quality. What is between is asked of a fast one, and of the other one if the answer falls
//! short; where the answer is streamed, it cannot be taken back, and the middle decides.

mod complexity;
mod task;

pub use complexity::{Complexity, Effort, Features};

use super::Route;
use crate::dialects::{Chat, Part, Role};
use codecrucible_contract::{Automatic, Task, Tier};

/// How much the numbers of priorities are raised of those that are asked when an answer falls short: beyond all others.
pub(super) const IN_NEED: u16 = 1_000;

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
    /// The tier that was wanted.
    pub tier: Tier,
    /// Where it goes if the answer falls short.
    pub escalated: Option<&'a Route>,
    /// By what it was chosen.
    pub judged: Judged,
}

impl Judged {
    /// Of a chat; what the client says of the task counts more than its words.
    pub fn of(chat: &Chat, prompt_tokens: u64, effort: Option<Effort>, task: Option<Task>) -> Self {
        let last_words = last_words(chat);
        let features = Features {
            prompt_tokens,
            messages: chat.messages.len(),
            has_tools: !chat.tools.is_empty(),
            last_words,
            effort,
        };
        Self { complexity: Complexity::of(&features), task: task.or_else(|| task::task(last_words)) }
    }
}

fn last_words(chat: &Chat) -> &str {
    let said = chat.messages.iter().rev().filter(|message| message.role == Role::User);
    let texts = said.flat_map(|message| message.parts.iter().rev()).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.into_iter().next().unwrap_or_default()
}

/// Of all routes that may be taken, and the same for need.
pub(super) fn choose<'a>(
    automatic: &Automatic,
    routes: &[(&'a Route, &'a Route)],
    judged: Judged,
    is_streamed: bool,
) -> Option<Choice<'a>> {
    let percent = judged.complexity.percent;
    let Automatic { fast_below_percent: fast, quality_above_percent: quality, .. } = *automatic;
    let is_between = (fast..=quality).contains(&percent);
    let tier = match percent {
        percent if percent < fast => Tier::Fast,
        percent if percent > quality => Tier::Quality,
        percent if is_streamed && percent >= u16::midpoint(fast, quality) => Tier::Quality,
        _ => Tier::Fast,
    };
    let (route, _) = of_tier(routes, tier, judged.task).or_else(|| routes.first().copied())?;
    let escalated = of_tier(routes, Tier::Quality, judged.task).map(|(_, in_need)| in_need);
    let escalated = escalated.filter(|_| is_between && !is_streamed && route.tier == Some(Tier::Fast));
    Some(Choice { route, tier, escalated, judged })
}

/// The first that is for the task, else the first that is for any.
fn of_tier<'a>(
    routes: &[(&'a Route, &'a Route)],
    tier: Tier,
    task: Option<Task>,
) -> Option<(&'a Route, &'a Route)> {
    let of_tier = || routes.iter().copied().filter(|(route, _)| route.tier == Some(tier));
    let is_for_it = |(route, _): &(&Route, &Route)| task.is_some_and(|task| route.tasks.contains(&task));
    of_tier().find(is_for_it).or_else(|| of_tier().find(|(route, _)| route.tasks.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTOMATIC: Automatic =
        Automatic { model: String::new(), fast_below_percent: 30, quality_above_percent: 70 };

    fn route(name: &str, tier: Tier, tasks: &[Task]) -> Route {
        Route { public_model: name.into(), targets: Vec::new(), tier: Some(tier), tasks: tasks.into() }
    }

    /// Which models are chosen, of these.
    fn chosen(routes: &[Route], percent: u16, task: Option<Task>, is_streamed: bool) -> (String, String) {
        let mut complexity = Complexity::of(&Features::default());
        complexity.percent = percent;
        let pairs: Vec<_> = routes.iter().map(|route| (route, route)).collect();
        let choice = choose(&AUTOMATIC, &pairs, Judged { complexity, task }, is_streamed).unwrap();
        let name = |route: &Route| route.public_model.clone();
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
    fn where_there_is_no_model_of_the_tier_another_one_answers() {
        let routes = [route("big", Tier::Quality, &[])];
        assert_eq!(chosen(&routes, 0, None, false), ("big".into(), String::new()));
        assert_eq!(chosen(&routes, 50, None, false), ("big".into(), String::new()));
    }
}
