//! Documents that were found right. The same one is checked whenever a policy that has it is compiled or read, and to check
//! a thousand rules takes long.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Most documents that are remembered; when there are more, they are checked anew.
const MAX_REMEMBERED: usize = 1_024;

static FOUND_RIGHT: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Checks a document that has this hash, unless one that has it was found right before.
pub(super) fn once<E>(hash: String, check: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if remembered().contains(&hash) {
        return Ok(());
    }
    check()?;
    let mut remembered = remembered();
    if remembered.len() >= MAX_REMEMBERED {
        remembered.clear();
    }
    remembered.insert(hash);
    Ok(())
}

fn remembered() -> MutexGuard<'static, HashSet<String>> {
    FOUND_RIGHT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_right_is_not_checked_again_and_what_was_not_is() {
        let hash = || "of a document of this test".to_owned();
        for _ in 0..2 {
            assert_eq!(once(hash(), || Err("wrong")), Err("wrong"));
        }
        assert_eq!(once(hash(), || Ok::<_, &str>(())), Ok(()));
        assert_eq!(once(hash(), || Err("not asked")), Ok(()));
        assert_eq!(once("of another one".into(), || Err("wrong")), Err("wrong"));
    }
}
