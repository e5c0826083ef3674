//! The store in which replicas count together, and its password.

use super::Invalid;
use crate::service::observe::Observed;
use codecrucible_contract as contract;
use codecrucible_crds::CodeCrucible;

pub(super) fn store(resource: &CodeCrucible) -> Option<contract::Store> {
    resource.spec.redis.as_ref().map(|redis| contract::Store {
        url: redis.url.clone(),
        username: redis.username.clone(),
        has_credential: redis.password_secret_ref.is_some(),
        is_cluster: redis.cluster,
    })
}

/// The store's password, if it needs one.
pub(super) fn password(resource: &CodeCrucible, observed: &Observed) -> Result<Option<String>, Invalid> {
    let Some(reference) = resource.spec.redis_password() else { return Ok(None) };
    super::credential("spec.redis.passwordSecretRef", reference, observed.store_password.as_ref()).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::service::fixtures::{observed, resource};
    use crate::service::observe::MissingCredential;
    use crate::service::validate::validate;
    use codecrucible_contract::layout;
    use serde_json::{Value, json};

    fn refusal(spec: Value) -> String {
        let Err(invalid) = validate(&resource(spec), &observed()) else { panic!("it is valid") };
        invalid.message
    }

    #[test]
    fn a_store_is_named_without_a_secret() {
        assert!(
            refusal(json!({"redis": {"url": "redis://a:b@c"}}))
                .starts_with("spec.redis.url: is not redis://")
        );
    }

    #[test]
    fn a_store_that_needs_a_password_needs_its_secret() {
        let spec =
            json!({"redis": {"url": "redis://redis:6379", "passwordSecretRef": {"name": "s", "key": "k"}}});
        assert_eq!(
            refusal(spec.clone()),
            "spec.redis.passwordSecretRef.name: there is no Secret \"s\" in this namespace"
        );
        let mut observed = observed();
        observed.store_password = Some(Err(MissingCredential::Key));
        let Err(invalid) = validate(&resource(spec.clone()), &observed) else { panic!("it is valid") };
        assert_eq!(invalid.message, "spec.redis.passwordSecretRef.key: the Secret \"s\" has no key \"k\"");
        observed.store_password = Some(Ok("sesame".into()));
        let Ok(validated) = validate(&resource(spec), &observed) else { panic!("it is not valid") };
        let file = layout::store_password_file(validated.bundle.policy().store.as_ref().unwrap());
        assert_eq!(validated.credentials[&file], "sesame");
        assert!(!validated.bundle.to_json().contains("sesame"));
    }
}
