//! The certificates by which the operator and the replicas know each other: those that exist and are good for a while
//! yet, and new ones in place of the others. A service has an authority of its own, so that no replica of one service can
//! pass for another one's, and everything goes with the resource.

use super::trust::Trust;
use crate::service::child::Child;
use crate::service::observe::Observed;
use codecrucible_contract::certificates::{self, CERTIFICATE_SECONDS, Certified, Role};
use codecrucible_contract::layout;
use codecrucible_contract::secrets::SecretError;
use codecrucible_crds::{CodeCrucible, names};
use kube::ResourceExt as _;

/// The authority's key in its Secret. No pod mounts it.
pub(crate) const AUTHORITY_KEY: &str = "ca.key";
/// The operator's certificate in the authority's Secret.
pub(crate) const OPERATOR_FILE: &str = "operator.crt";
/// Its key.
pub(crate) const OPERATOR_KEY: &str = "operator.key";
/// When the certificate of a Secret ends, seconds since 1970.
pub(crate) const NOT_AFTER: &str = "not-after";

/// All of a service's certificates. Without `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    pub(crate) authority: Certified,
    pub(crate) operator: Lasting,
    pub(crate) replica: Lasting,
}

/// A certificate and when it ends.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Lasting {
    pub(crate) certified: Certified,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

impl Certificates {
    /// What is stored, and new ones in place of what is missing, broken or due. `now`: seconds since 1970.
    pub(crate) fn gather(
        resource: &CodeCrucible,
        observed: &Observed,
        now: i64,
    ) -> Result<Self, SecretError> {
        let owner = Owner::of(resource);
        let kept = authority(observed).and_then(|authority| owner.complete(authority, observed, now));
        kept.map_or_else(|| owner.all(now), Ok)
    }

    /// New ones, if those of a service that has some are due. What is missing is made with everything else.
    pub(crate) fn due(
        resource: &CodeCrucible,
        observed: &Observed,
        now: i64,
    ) -> Result<Option<Self>, SecretError> {
        let has_some =
            [Child::Authority, Child::Certificate].iter().all(|child| observed.children.contains_key(child));
        if !has_some || Self::stored(observed, now).is_some() {
            return Ok(None);
        }
        Self::gather(resource, observed, now).map(Some)
    }

    /// What is stored, if nothing is missing or due. Whether it is any good is not looked at: should somebody have edited
    /// it, it differs from what was applied.
    pub(crate) fn stored(observed: &Observed, now: i64) -> Option<Self> {
        let authority = authority(observed)?;
        let (operator, replica) = (operator(observed, now)?, replica(observed, &authority, now)?);
        Some(Self { authority, operator, replica })
    }
}

/// Whose certificates they are.
struct Owner {
    name: String,
    server_name: String,
}

impl Owner {
    fn of(resource: &CodeCrucible) -> Self {
        let namespace = resource.namespace().unwrap_or_default();
        Self { name: format!("{namespace}/{}", resource.name_any()), server_name: server_name(resource) }
    }

    /// What an authority that is stored has signed, and new ones in place of what is not good. Nothing if it cannot sign
    /// what is believed: then its key is another one's, or it has ended.
    fn complete(&self, authority: Certified, observed: &Observed, now: i64) -> Option<Certificates> {
        let trust = Trust::of(&authority, now)?;
        let good_client = |shown: &Lasting| trust.in_client(&shown.certified);
        let good_server = |shown: &Lasting| trust.in_server(&shown.certified, &self.server_name);
        let operator = operator(observed, now).filter(good_client);
        let replica = replica(observed, &authority, now).filter(good_server);
        let new_operator = || self.operator(&authority, now).ok().filter(good_client);
        let new_replica = || self.replica(&authority, now).ok().filter(good_server);
        let (operator, replica) = (operator.or_else(new_operator)?, replica.or_else(new_replica)?);
        Some(Certificates { authority, operator, replica })
    }

    fn all(&self, now: i64) -> Result<Certificates, SecretError> {
        let authority = certificates::authority(&self.name, now)?;
        let (operator, replica) = (self.operator(&authority, now)?, self.replica(&authority, now)?);
        Ok(Certificates { authority, operator, replica })
    }

    fn operator(&self, authority: &Certified, now: i64) -> Result<Lasting, SecretError> {
        self.issue(authority, Role::Client(names::FIELD_MANAGER), now)
    }

    fn replica(&self, authority: &Certified, now: i64) -> Result<Lasting, SecretError> {
        self.issue(authority, Role::Server(std::slice::from_ref(&self.server_name)), now)
    }

    fn issue(&self, authority: &Certified, role: Role<'_>, now: i64) -> Result<Lasting, SecretError> {
        let certified = certificates::issue(authority, &self.name, role, now)?;
        Ok(Lasting { certified, not_after: now.saturating_add(CERTIFICATE_SECONDS) })
    }
}

/// The name that replicas show.
pub(crate) fn server_name(resource: &CodeCrucible) -> String {
    format!("{}.{}.svc", names::workload(&resource.name_any()), resource.namespace().unwrap_or_default())
}

/// The authority that is stored.
fn authority(observed: &Observed) -> Option<Certified> {
    certified(observed, Child::Authority, layout::AUTHORITY_FILE, AUTHORITY_KEY)
}

/// What the operator shows to replicas, as it is stored.
pub(crate) fn operator_as_stored(observed: &Observed) -> Option<(Certified, Certified)> {
    Some((authority(observed)?, certified(observed, Child::Authority, OPERATOR_FILE, OPERATOR_KEY)?))
}

fn operator(observed: &Observed, now: i64) -> Option<Lasting> {
    lasting(observed, Child::Authority, (OPERATOR_FILE, OPERATOR_KEY), now)
}

/// One beside another authority is none: that one is what the replicas believe.
fn replica(observed: &Observed, authority: &Certified, now: i64) -> Option<Lasting> {
    let believed = observed.data(Child::Certificate, layout::AUTHORITY_FILE)?;
    let files = (layout::CERTIFICATE_FILE, layout::CERTIFICATE_KEY_FILE);
    lasting(observed, Child::Certificate, files, now).filter(|_| believed == authority.certificate)
}

fn lasting(observed: &Observed, child: Child, (file, key): (&str, &str), now: i64) -> Option<Lasting> {
    let certified = certified(observed, child, file, key)?;
    let not_after = observed.data(child, NOT_AFTER)?.parse().ok()?;
    (!certificates::is_due(not_after, now)).then_some(Lasting { certified, not_after })
}

fn certified(observed: &Observed, child: Child, certificate: &str, key: &str) -> Option<Certified> {
    let filled = |key| observed.data(child, key).filter(|text| !text.is_empty());
    Some(Certified { certificate: filled(certificate)?, key: filled(key)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::desired::tests::with_secrets_of;
    use crate::service::fixtures;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use kube::api::DynamicObject;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn gather(observed: &Observed, now: i64) -> Certificates {
        Certificates::gather(&fixtures::resource(json!({})), observed, now).unwrap()
    }

    fn exist(observed: &Observed, now: i64) -> bool {
        Certificates::stored(observed, now).is_some()
    }

    /// Certificates, and what is seen once they are stored.
    fn stored() -> (Certificates, Observed) {
        let mut observed = fixtures::observed();
        let made = gather(&observed, NOW);
        with_secrets_of(&made, &mut observed);
        (made, observed)
    }

    fn edit(observed: &mut Observed, child: Child, key: &str, value: &str) {
        let object: &mut DynamicObject = observed.children.get_mut(&child).unwrap();
        object.data["data"][key] = value.into();
    }

    #[test]
    fn what_is_stored_is_kept_until_it_is_due() {
        let (made, observed) = stored();
        assert!(!exist(&fixtures::observed(), NOW) && exist(&observed, NOW));
        assert!(gather(&observed, NOW) == made);
        let later = NOW + CERTIFICATE_SECONDS * 2 / 3;
        assert!(exist(&observed, later - 1) && gather(&observed, later - 1) == made);
        assert!(!exist(&observed, later));
        let renewed = gather(&observed, later);
        assert!(renewed.authority == made.authority);
        assert!(renewed.operator != made.operator && renewed.replica != made.replica);
        assert_eq!(renewed.replica.not_after, later + CERTIFICATE_SECONDS);
    }

    #[test]
    fn a_new_authority_signs_everything_anew() {
        let (made, mut observed) = stored();
        observed.children.remove(&Child::Authority);
        assert!(!exist(&observed, NOW));
        let renewed = gather(&observed, NOW);
        assert!(renewed.authority != made.authority && renewed.replica != made.replica);
    }

    #[test]
    fn what_somebody_broke_is_made_anew() {
        let (other, _) = stored();
        let far = (NOW * 5).to_string();
        let broken: [(Child, &str, &str); 8] = [
            (Child::Authority, AUTHORITY_KEY, ""),
            (Child::Authority, AUTHORITY_KEY, &other.authority.key),
            (Child::Authority, NOT_AFTER, &far),
            (Child::Authority, OPERATOR_FILE, &other.operator.certified.certificate),
            (Child::Certificate, layout::CERTIFICATE_FILE, "x"),
            (Child::Certificate, layout::CERTIFICATE_KEY_FILE, &other.replica.certified.key),
            (Child::Certificate, layout::CERTIFICATE_KEY_FILE, ""),
            (Child::Certificate, layout::AUTHORITY_FILE, &other.authority.certificate),
        ];
        for (child, key, value) in broken {
            let (made, mut observed) = stored();
            edit(&mut observed, child, key, &STANDARD.encode(value));
            if key == AUTHORITY_KEY {
                // It is looked at when it is to sign.
                observed.children.remove(&Child::Certificate);
            }
            let mended = gather(&observed, NOW);
            assert!(mended != made, "{key}");
            with_secrets_of(&mended, &mut observed);
            assert!(exist(&observed, NOW), "{key}");
        }
    }

    #[test]
    fn an_authority_that_cannot_sign_is_replaced() {
        let (made, mut observed) = stored();
        edit(&mut observed, Child::Authority, AUTHORITY_KEY, "bm90IGEga2V5");
        observed.children.remove(&Child::Certificate);
        assert!(gather(&observed, NOW).authority != made.authority);
    }
}
