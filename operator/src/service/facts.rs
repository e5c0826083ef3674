//! What a decision needs that can be neither seen nor computed: secrets that do not exist yet. Randomness enters a
//! reconcile here and nowhere else, through [`Certificates`] too.

use super::child::Child;
use super::observe::Observed;
use super::tls::Certificates;
use codecrucible_contract::layout;
use codecrucible_contract::secrets::{self, SecretError};
use codecrucible_crds::CodeCrucible;
use jiff::Timestamp;

/// The secrets of a service: those that exist, and new ones in place of those that do not. Without `Debug`.
pub(crate) struct Facts {
    /// PKCS#8 in PEM.
    pub(crate) signing_key_pem: String,
    /// The client's secret.
    pub(crate) client_secret: String,
    /// By which the operator and the replicas know each other.
    pub(crate) certificates: Certificates,
}

impl Facts {
    /// Makes what is missing. A key takes a while to find: it is made only then, and on a thread on which
    /// nobody waits for anything else.
    pub(crate) async fn gather(
        resource: &CodeCrucible,
        observed: &Observed,
        now: Timestamp,
    ) -> Result<Self, SecretError> {
        let signing_key_pem = match signing_key_pem(observed) {
            Some(pem) => pem,
            None => {
                tokio::task::spawn_blocking(secrets::signing_key_pem).await.map_err(|_| SecretError)??
            }
        };
        let client_secret = match client_secret(observed) {
            Some(secret) => secret,
            None => secrets::random_token()?,
        };
        let certificates = Certificates::gather(resource, observed, now.as_second())?;
        Ok(Self { signing_key_pem, client_secret, certificates })
    }

    /// What exists, if nothing has to be made.
    pub(crate) fn stored(observed: &Observed, now: Timestamp) -> Option<Self> {
        Some(Self {
            signing_key_pem: signing_key_pem(observed)?,
            client_secret: client_secret(observed)?,
            certificates: Certificates::stored(observed, now.as_second())?,
        })
    }
}

fn signing_key_pem(observed: &Observed) -> Option<String> {
    observed.data(Child::SigningKeys, layout::FIRST_SIGNING_KEY_FILE).filter(|pem| !pem.is_empty())
}

fn client_secret(observed: &Observed) -> Option<String> {
    observed.data(Child::OwnClient, layout::CLIENT_SECRET_FILE).filter(|secret| !secret.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::desired::tests::with_secrets_of;
    use crate::service::fixtures;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn exist(observed: &Observed) -> bool {
        Facts::stored(observed, NOW).is_some()
    }

    async fn gather(observed: &Observed) -> Facts {
        Facts::gather(&fixtures::resource(json!({})), observed, NOW).await.unwrap()
    }

    fn secret(data: Value) -> DynamicObject {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data});
        serde_json::from_value(object).unwrap()
    }

    #[tokio::test]
    async fn secrets_are_made_once_and_then_kept() {
        let mut observed = fixtures::observed();
        assert!(!exist(&observed));
        let made = gather(&observed).await;
        assert!(made.signing_key_pem.contains("PRIVATE KEY") && made.client_secret.len() > 40);

        let encoded = |text: &str| STANDARD.encode(text);
        observed
            .children
            .insert(Child::SigningKeys, secret(json!({"000001.pem": encoded(&made.signing_key_pem)})));
        observed.children.insert(Child::OwnClient, secret(json!({"client-secret": encoded("kept")})));
        assert!(!exist(&observed));
        with_secrets_of(&made.certificates, &mut observed);
        assert!(exist(&observed));
        let again = gather(&observed).await;
        assert_eq!((again.signing_key_pem, again.client_secret), (made.signing_key_pem, "kept".into()));
    }

    #[tokio::test]
    async fn a_secret_that_was_emptied_is_made_anew() {
        let mut observed = fixtures::observed();
        observed.children.insert(Child::SigningKeys, secret(json!({"000001.pem": ""})));
        observed.children.insert(Child::OwnClient, secret(json!({})));
        assert!(!exist(&observed));
        let made = gather(&observed).await;
        assert!(!made.signing_key_pem.is_empty() && !made.client_secret.is_empty());
    }
}
