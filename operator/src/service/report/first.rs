//! What is said of a resource before anything of it was looked at: that it waits.

use crate::conventions::{condition, verdict};
use codecrucible_crds::{CodeCrucibleStatus, conditions as types};
use jiff::Timestamp;

/// A status without a generation: nothing of the spec was observed.
pub(super) fn first(now: Timestamp) -> CodeCrucibleStatus {
    let said = |type_, is_true| {
        let queued =
            verdict(is_true, types::REASON_QUEUED, "it waits for the operator, which looks at others first");
        condition(type_, queued, None, &[], now)
    };
    let conditions = vec![said(types::READY, false), said(types::RECONCILING, true)];
    CodeCrucibleStatus { conditions, ..CodeCrucibleStatus::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conventions::events::announcements;

    #[test]
    fn a_new_resource_is_on_its_way_and_claims_nothing() {
        let status = first(Timestamp::UNIX_EPOCH);
        let said: Vec<_> =
            status.conditions.iter().map(|said| (said.type_.as_str(), said.status.as_str())).collect();
        assert_eq!(said, [("Ready", "False"), ("Reconciling", "True")]);
        assert_eq!(status.observed_generation, None, "or it would count as looked at");
        assert_eq!(announcements(&[], &status.conditions).len(), 0, "to wait is no news");
    }
}
