//! What speaks for a candidate, in points that add up to at most 100. Never a constant, never a model's
//! own claim: each part is measured on the candidate's text.

use super::code::Code;
use super::{Language, syntax::Findings};
use serde::Serialize;

/// Points for an answer that presents its code as code.
const FENCED_POINTS: u32 = 10;
/// Points for code that parses without any error.
const PARSES_POINTS: u32 = 50;
/// Most points for code that parses in part: clearly below whole code.
const PARSES_PARTLY_POINTS: u32 = 25;
/// Points for defining everything that was asked for.
const DEFINES_POINTS: u32 = 40;

/// The evidence for one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Sum of the parts' points.
    pub total: u32,
    /// What was measured.
    pub parts: Vec<Part>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What was measured: `fenced`, `parses` or `defines`.
    pub name: &'static str,
    /// Points earned.
    pub points: u32,
    /// Points that could be earned.
    pub of: u32,
    /// What was found.
    pub reason: String,
}

/// Measures code in a language, if one is known, against the definitions that were asked for.
pub(super) fn score(code: &Code, language: Option<Language>, requested: &[String]) -> Score {
    let findings =
        language.and_then(|language| language.examine(&code.text)).filter(|found| found.total_bytes > 0);
    let parts = vec![fenced(code), parses(findings.as_ref()), defines(findings.as_ref(), requested)];
    Score { total: parts.iter().map(|part| part.points).sum(), parts }
}

fn fenced(code: &Code) -> Part {
    let present = code.fenced && !code.text.trim().is_empty();
    let reason =
        if present { "the answer has a fenced code block" } else { "the answer has no fenced code block" };
    Part {
        name: "fenced",
        points: if present { FENCED_POINTS } else { 0 },
        of: FENCED_POINTS,
        reason: reason.into(),
    }
}

fn parses(findings: Option<&Findings>) -> Part {
    let (points, reason) = match findings {
        None => (0, "there is no code in a language that can be parsed".to_owned()),
        Some(found) if found.broken_bytes == 0 => (PARSES_POINTS, "the code parses".to_owned()),
        Some(found) => {
            let whole_bytes = found.total_bytes.saturating_sub(found.broken_bytes);
            let points = share(PARSES_PARTLY_POINTS, whole_bytes, found.total_bytes);
            (points, format!("{} of {} bytes do not parse", found.broken_bytes, found.total_bytes))
        }
    };
    Part { name: "parses", points, of: PARSES_POINTS, reason }
}

fn defines(findings: Option<&Findings>, requested: &[String]) -> Part {
    let part = |points, reason| Part { name: "defines", points, of: DEFINES_POINTS, reason };
    let Some(findings) = findings else {
        return part(0, "no definition can be looked for".to_owned());
    };
    if requested.is_empty() {
        let count = findings.definitions.len();
        let points = if count > 0 { DEFINES_POINTS } else { 0 };
        return part(points, format!("none was asked for by name; the code defines {count}"));
    }
    let missing: Vec<&str> =
        requested.iter().filter(|name| !findings.definitions.contains(*name)).map(String::as_str).collect();
    let found = requested.len() - missing.len();
    let points = share(DEFINES_POINTS, found, requested.len());
    let reason = if missing.is_empty() {
        format!("defines {}", requested.join(", "))
    } else {
        format!("does not define {}", missing.join(", "))
    };
    part(points, reason)
}

/// `points × part ÷ whole`, rounded down, in numbers that cannot overflow.
fn share(points: u32, part: usize, whole: usize) -> u32 {
    let exact = u64::from(points) * part as u64 / (whole.max(1) as u64);
    u32::try_from(exact).unwrap_or(points).min(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthesis::code::extract;

    fn points(answer: &str, requested: &[&str]) -> [u32; 3] {
        let code = extract(answer);
        let requested: Vec<String> = requested.iter().map(|name| (*name).to_owned()).collect();
        let score = score(&code, Some(Language::Python), &requested);
        assert_eq!(score.total, score.parts.iter().map(|part| part.points).sum::<u32>());
        assert!(score.parts.iter().all(|part| part.points <= part.of));
        [score.parts[0].points, score.parts[1].points, score.parts[2].points]
    }

    #[test]
    fn code_that_does_what_was_asked_earns_everything() {
        assert_eq!(points("```py\ndef f(): pass\n```", &["f"]), [10, 50, 40]);
    }

    #[test]
    fn a_missing_definition_costs_its_share() {
        assert_eq!(points("```py\ndef f(): pass\n```", &["f", "g"]), [10, 50, 20]);
    }

    #[test]
    fn broken_code_earns_less_than_half_for_parsing() {
        let [_, parses, defines] = points("```py\ndef f(): pass\ndef g(:\n```", &["f"]);
        assert!(parses > 0 && parses < 25, "{parses}");
        assert_eq!(defines, 40);
    }

    #[test]
    fn prose_and_emptiness_earn_nothing_for_definitions() {
        assert_eq!(points("I cannot help, sorry (really).", &["f"])[2], 0);
        assert_eq!(points("", &["f"]), [0, 0, 0]);
        assert_eq!(points("```py\n```", &[]), [0, 0, 0]);
    }

    #[test]
    fn without_a_language_only_the_form_can_be_judged() {
        let score = score(&extract("```x\n1\n```"), None, &[]);
        assert_eq!(score.total, 10);
    }
}
