//! The stores that replicas share, and their passwords.

use super::Invalid;
use crate::service::observe::Observed;
use codecrucible_contract as contract;
use codecrucible_contract::layout;
use codecrucible_crds::{CodeCrucible, Redis};
use kube::ResourceExt as _;
use std::collections::BTreeMap;

pub(super) fn store(redis: &Redis) -> contract::Store {
    contract::Store {
        url: redis.url.clone(),
        username: redis.username.clone(),
        has_credential: redis.password_secret_ref.is_some(),
        is_cluster: redis.cluster,
    }
}

/// What tells a service from all others, also from those of other clusters, which may use one store.
pub(super) fn scope(resource: &CodeCrucible) -> String {
    let (namespace, uid) = (resource.namespace().unwrap_or_default(), resource.uid().unwrap_or_default());
    format!("{namespace}/{}/{uid}", resource.name_any())
}

/// The passwords of those that need one, by the files that they are to lie in.
pub(super) fn passwords(
    resource: &CodeCrucible,
    observed: &Observed,
) -> Result<BTreeMap<String, String>, Invalid> {
    let mut passwords = BTreeMap::new();
    for (at, redis) in resource.spec.stores() {
        let Some(reference) = &redis.password_secret_ref else { continue };
        let found = observed.store_passwords.get(at);
        let password = super::credential(&format!("{at}.passwordSecretRef"), reference, found)?;
        let file = layout::store_password_file(&store(redis));
        if passwords.insert(file, password.clone()).is_some_and(|other| other != password) {
            let problem = "is the Redis of spec.redis, which has another password";
            return Err(Invalid::value(format!("{at}.passwordSecretRef: {problem}")));
        }
    }
    Ok(passwords)
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
        observed.store_passwords = [("spec.redis", Err(MissingCredential::Key))].into();
        let Err(invalid) = validate(&resource(spec.clone()), &observed) else { panic!("it is valid") };
        assert_eq!(invalid.message, "spec.redis.passwordSecretRef.key: the Secret \"s\" has no key \"k\"");
        observed.store_passwords = [("spec.redis", Ok("sesame".to_owned()))].into();
        let Ok(validated) = validate(&resource(spec), &observed) else { panic!("it is not valid") };
        let file = layout::store_password_file(validated.bundle.policy().store.as_ref().unwrap());
        assert_eq!(validated.credentials[&file], "sesame");
        assert!(!validated.bundle.to_json().contains("sesame"));
    }

    #[test]
    fn one_store_has_one_password() {
        let redis = json!({"url": "redis://redis:6379", "passwordSecretRef": {"name": "s", "key": "k"}});
        let spec = json!({"redis": redis, "cache": {"redis": redis, "rules": [{"name": "a"}]}});
        let with = |other: &str| {
            let mut observed = observed();
            let passwords = [("spec.redis", "sesame"), ("spec.cache.redis", other)];
            observed.store_passwords = passwords.map(|(at, password)| (at, Ok(password.to_owned()))).into();
            validate(&resource(spec.clone()), &observed).map(|_| ()).map_err(|invalid| invalid.message)
        };
        assert_eq!(with("sesame"), Ok(()));
        assert_eq!(
            with("other").unwrap_err(),
            "spec.cache.redis.passwordSecretRef: is the Redis of spec.redis, which has another password"
        );
    }
}
