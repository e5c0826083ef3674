//! Asks the replicas what they applied. Each answers on a port of its own, to the operator alone.

use super::observe::Observed;
use super::pod::STATUS_PORT;
use super::tls::{operator_as_stored, server_name};
use codecrucible_contract::certificates::Certified;
use codecrucible_contract::{Acknowledgement, MAX_ACKNOWLEDGEMENT_BYTES, STATUS_PATH};
use codecrucible_crds::CodeCrucible;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Longest wait for one replica, seconds.
const LIMIT_SECONDS: u64 = 2;
/// Longest wait for all of them, seconds: whoever reconciles waits, and what is to be written.
const LIMIT_FOR_ALL_SECONDS: u64 = 3;
/// Replicas that are asked at once.
const MAX_AT_ONCE: usize = 16;

/// What is said of an answer that is none.
const NOT_UNDERSTOOD: &str = "gives an answer that is not understood";

/// What a replica said, or why it said nothing.
pub(crate) type Answer = Result<Acknowledgement, String>;

/// Asks every replica that is ready and was not asked before; by the pod's name.
pub(crate) async fn ask(resource: &CodeCrucible, observed: &Observed) -> BTreeMap<String, Answer> {
    let ready = observed.pods.iter().filter_map(|pod| Some((pod.name_any(), ready_at(pod)?)));
    let ready: Vec<_> = ready.filter(|(pod, _)| !observed.answers.contains_key(pod)).collect();
    if ready.is_empty() {
        return BTreeMap::new();
    }
    let connector = match connector(observed) {
        Ok(connector) => connector,
        Err(error) => return ready.into_iter().map(|(pod, _)| (pod, Err(error.clone()))).collect(),
    };
    let name = server_name(resource);
    let not_asked = ready.iter().map(|(pod, _)| (pod.clone(), Err("was not asked in time".to_owned())));
    let mut answers: BTreeMap<_, _> = not_asked.collect();
    let asked = ready.into_iter().map(|(pod, address)| {
        let (connector, name) = (connector.clone(), name.clone());
        async move {
            let answer =
                timeout(Duration::from_secs(LIMIT_SECONDS), ask_one(&connector, &name, address)).await;
            (pod, answer.unwrap_or_else(|_| Err(format!("no answer within {LIMIT_SECONDS} s"))))
        }
    });
    let mut asked = stream::iter(asked).buffer_unordered(MAX_AT_ONCE);
    let until = Instant::now() + Duration::from_secs(LIMIT_FOR_ALL_SECONDS);
    while let Ok(Some((pod, answer))) = timeout_at(until, asked.next()).await {
        answers.insert(pod, answer);
    }
    answers
}

/// Whether a replica serves, and is to go on serving.
pub(crate) fn is_asked(pod: &Pod) -> bool {
    ready_at(pod).is_some()
}

/// The address of a replica that serves, and is to go on serving.
fn ready_at(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref().filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    let mut conditions = status.conditions.iter().flatten();
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    status.pod_ip.as_ref().filter(|_| is_ready)?.parse().ok()
}

/// In words of ours: those of the libraries tell times and addresses, which would change the status at each look.
async fn ask_one(connector: &TlsConnector, name: &str, address: IpAddr) -> Answer {
    let stream = TcpStream::connect((address, STATUS_PORT)).await;
    let stream = stream.map_err(|error| format!("cannot be reached: {}", error.kind()))?;
    let server = ServerName::try_from(name.to_owned()).map_err(|_| "has no name".to_owned())?;
    let stream = connector.connect(server, stream).await.map_err(|error| describe(&error))?;
    let talk = http1::Builder::new().max_buf_size(MAX_ACKNOWLEDGEMENT_BYTES).handshake(TokioIo::new(stream));
    let (mut sender, connection) = talk.await.map_err(|_| NOT_UNDERSTOOD)?;
    let request = Request::get(STATUS_PATH).header("host", name).body(Empty::<Bytes>::new());
    let request = request.map_err(|_| NOT_UNDERSTOOD)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|_| NOT_UNDERSTOOD)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ACKNOWLEDGEMENT_BYTES).collect().await;
        let body = body.map_err(|_| NOT_UNDERSTOOD)?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| NOT_UNDERSTOOD.to_owned())
    };
    // The connection is driven as long as the exchange lasts, and closed with it.
    tokio::select! {
        biased;
        answer = exchange => answer,
        _ended = connection => Err("closed the connection".to_owned()),
    }
}

/// Why a replica and the operator do not believe each other.
fn describe(error: &std::io::Error) -> String {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let problem = match error {
        Some(rustls::Error::InvalidCertificate(problem)) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
            CertificateError::UnknownIssuer => "is of another authority",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "is for another name"
            }
            _ => "is not good",
        },
        _ => return "does not speak TLS as it should, or refuses the operator's certificate".into(),
    };
    format!("shows a certificate that {problem}")
}

/// With the certificate that is stored; the one that is about to be made nobody knows yet.
fn connector(observed: &Observed) -> Result<TlsConnector, String> {
    let (authority, operator) = operator_as_stored(observed).ok_or("the operator has no certificate yet")?;
    client_config(&authority, &operator).map(|config| TlsConnector::from(Arc::new(config)))
}

fn client_config(authority: &Certified, operator: &Certified) -> Result<ClientConfig, String> {
    // Not the error's own words: they might hold a part of what does not parse.
    let broken = "a certificate in the authority's Secret is broken";
    let certificate = |certified: &Certified| {
        CertificateDer::from_pem_slice(certified.certificate.as_bytes()).map_err(|_| broken)
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority)?).map_err(|_| broken)?;
    let key = PrivateKeyDer::from_pem_slice(operator.key.as_bytes()).map_err(|_| broken)?;
    ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate(operator)?], key)
        .map_err(|_| broken.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(metadata: Value, ready: &str) -> Pod {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let status = json!({"podIP": "10.0.0.1", "conditions": conditions});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    #[test]
    fn only_replicas_that_serve_and_stay_are_asked() {
        assert_eq!(ready_at(&pod(json!({"name": "p"}), "True")), "10.0.0.1".parse().ok());
        assert_eq!(ready_at(&pod(json!({"name": "p"}), "False")), None);
        let ending = json!({"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(ready_at(&pod(ending, "True")), None);
        assert_eq!(ready_at(&Pod::default()), None);
    }
}
