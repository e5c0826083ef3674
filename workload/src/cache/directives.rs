//! What a request says about caches (`Cache-Control`, RFC 9111, section 5.2.1), as far as it can matter here: nothing here is ever stale.

use http::HeaderMap;
use http::header::CACHE_CONTROL;
use std::time::Duration;

/// What a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Nothing of it is to be kept, nor given from what is.
    pub no_store: bool,
    /// What is kept is not to be given.
    pub no_cache: bool,
    /// What is not kept is not to be asked for.
    pub only_if_cached: bool,
    /// What is older is not to be given.
    pub max_age: Option<Duration>,
}

impl Directives {
    /// Those of a request; others are passed over.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
        let mut directives = Self::default();
        for directive in lines.flat_map(|line| line.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => directives.no_store = true,
                "no-cache" => directives.no_cache = true,
                "only-if-cached" => directives.only_if_cached = true,
                "max-age" => directives.max_age = Some(seconds(value)),
                _ => {}
            }
        }
        directives
    }
}

/// What is no number of seconds counts as none: then everything is too old.
fn seconds(value: &str) -> Duration {
    Duration::from_secs(value.trim().trim_matches('"').parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn directives(lines: &[&'static str]) -> Directives {
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        });
        Directives::of(&headers)
    }

    #[test]
    fn directives_are_read_from_all_lines_whatever_their_case() {
        let expected = Directives {
            no_cache: true,
            only_if_cached: true,
            max_age: Some(Duration::from_secs(60)),
            no_store: false,
        };
        assert_eq!(directives(&["No-Cache, max-age=\"60\"", "only-if-cached, extension=1"]), expected);
        assert!(directives(&["no-store"]).no_store);
        assert_eq!(directives(&[]), Directives::default());
    }

    #[test]
    fn an_age_that_is_no_number_makes_everything_too_old() {
        assert_eq!(directives(&["max-age=soon"]).max_age, Some(Duration::ZERO));
        assert_eq!(directives(&["max-age"]).max_age, Some(Duration::ZERO));
    }
}
