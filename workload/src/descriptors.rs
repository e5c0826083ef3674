//! As many open files as the system lets the process have: each connection is one, and so is each file of the cache. Many systems give a process few unless it asks.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit to the most that there may be, if that is possible.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_had_is() {
        raise_limit();
        let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(now, most);
    }
}
