//! What the operator says about its work: JSON lines on standard output, and traces where they are asked for.

use super::traces::Traces;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The environment variable `RUST_LOG` sets levels, such as `debug` or `info,codecrucible_operator=debug`. Gives the traces that are to
/// be ended with the process.
pub(crate) fn install() -> Option<Traces> {
    let asked_for = std::env::var("RUST_LOG").unwrap_or_default();
    let (levels, unknown) = levels(&asked_for);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    // Without traces the operator works as well: the fault is told, and nothing else.
    let (traces, fault) = match Traces::from_environment() {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(levels))
        .with(traces.as_ref().map(Traces::layer))
        .try_init();
    if !unknown.is_empty() {
        tracing::warn!(?unknown, "RUST_LOG has parts that are not understood");
    }
    if let Some(error) = fault {
        tracing::warn!(%error, "traces are not told: look at the variables OTEL_EXPORTER_OTLP_…");
    }
    traces
}

/// The levels that are asked for, `info` for what is not named, and the parts that say nothing.
fn levels(asked_for: &str) -> (Targets, Vec<&str>) {
    let mut levels = Targets::new().with_default(LevelFilter::INFO);
    let mut unknown = Vec::new();
    for part in asked_for.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<Targets>() {
            Ok(parsed) => match parsed.default_level() {
                Some(level) => levels = levels.with_default(level),
                None => levels.extend(parsed),
            },
            Err(_) => unknown.push(part),
        }
    }
    (levels, unknown)
}

#[cfg(test)]
mod tests {
    use super::levels;
    use tracing::Level;

    #[test]
    fn levels_are_set_for_all_or_for_a_part() {
        let (levels, unknown) = levels("warn, codecrucible_operator::leader=debug");
        assert!(levels.would_enable("kube", &Level::WARN) && !levels.would_enable("kube", &Level::INFO));
        assert!(levels.would_enable("codecrucible_operator::leader", &Level::DEBUG));
        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn what_is_not_understood_is_told_and_the_rest_counts() {
        assert!(levels("").0.would_enable("kube", &Level::INFO));
        let (levels, unknown) = levels("kube=nonsense,debug");
        assert_eq!(unknown, ["kube=nonsense"]);
        assert!(levels.would_enable("codecrucible_operator", &Level::DEBUG));
    }
}
