//! The cluster's certificates: one authority, a leaf for each component, and the key of service accounts.

use super::Place;
use super::network::NODE_ADDRESS;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;

/// Names under which the API server is reached.
const API_SERVER_NAMES: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    NODE_ADDRESS,
    "10.96.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Name of the API server as a client of API servers that extend it.
pub(super) const FRONT_PROXY_NAME: &str = "front-proxy-client";

/// File name, common name, organisation, subject alternative names.
const LEAVES: [(&str, &str, &str, &[&str]); 12] = [
    ("apiserver", "kube-apiserver", "", &API_SERVER_NAMES),
    ("apiserver-kubelet", "kube-apiserver-kubelet", "system:masters", &[]),
    ("admin", "admin", "system:masters", &[]),
    ("controller-manager", "system:kube-controller-manager", "", &[]),
    ("scheduler", "system:kube-scheduler", "", &[]),
    ("kube-proxy", "system:kube-proxy", "", &[]),
    ("kubelet", "system:node:node", "system:nodes", &[NODE_ADDRESS, "node"]),
    ("coredns", "system:coredns", "", &[]),
    ("metrics-server", "metrics-server", "system:masters", &[]),
    ("cert-manager", "cert-manager", "system:masters", &[]),
    ("traefik", "traefik", "system:masters", &[]),
    ("monitoring", "monitoring", "system:masters", &[]),
];

/// Writes everything.
pub(super) fn create(place: &Place) -> anyhow::Result<()> {
    fs::create_dir_all(place.file("pki"))?;
    let write = |name: String, pem: String| fs::write(place.file("pki").join(name), pem);
    let (issuer, issuer_pem) = authority()?;
    write("ca.crt".into(), issuer_pem)?;
    write("ca.key".into(), issuer.key().serialize_pem())?;
    // An authority of its own: who it signs for may speak in anybody's name.
    let (front_proxy, front_proxy_pem) = authority()?;
    write("front-proxy-ca.crt".into(), front_proxy_pem)?;
    let key = KeyPair::generate()?;
    let certificate = leaf(FRONT_PROXY_NAME, "", &[])?.signed_by(&key, &front_proxy)?;
    write("front-proxy.crt".into(), certificate.pem())?;
    write("front-proxy.key".into(), key.serialize_pem())?;
    for (file, common_name, organisation, names) in LEAVES {
        let key = KeyPair::generate()?;
        let certificate = leaf(common_name, organisation, names)?.signed_by(&key, &issuer)?;
        write(format!("{file}.crt"), certificate.pem())?;
        write(format!("{file}.key"), key.serialize_pem())?;
    }
    let service_accounts = KeyPair::generate()?;
    write("service-accounts.key".into(), service_accounts.serialize_pem())?;
    write("service-accounts.pub".into(), service_accounts.public_key_pem())?;
    Ok(())
}

fn authority() -> anyhow::Result<(Issuer<'static, KeyPair>, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "cluster authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn leaf(common_name: &str, organisation: &str, names: &[&str]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    if !organisation.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}
