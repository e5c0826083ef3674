//! What cert-manager is asked for: a certificate of the service, renewed, with a new key each time.

use crate::service::tls::server_name;
use codecrucible_crds::{CodeCrucible, names};
use kube::ResourceExt as _;
use serde_json::{Value, json};

pub(super) fn issued(resource: &CodeCrucible) -> Value {
    let tls = &resource.spec.tls;
    let name = server_name(resource);
    let inside = || vec![name.clone(), format!("{name}.cluster.local")];
    json!({"spec": {
        "secretName": names::issued_certificate_secret(&resource.name_any()),
        "dnsNames": tls.dns_names.clone().unwrap_or_else(inside),
        "issuerRef": tls.issuer_ref,
        "usages": ["digital signature", "server auth"],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
    }})
}
