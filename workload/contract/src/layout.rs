//! Where things lie in the configuration directory, in a pod and outside Kubernetes alike.
//!
//! Each folder is one mounted object, because the kubelet swaps a mounted object as a whole.

use crate::{Store, sha256_hex};

/// Folder of the policy bundle: one file, [`BUNDLE_FILE`] or [`COMPRESSED_BUNDLE_FILE`], and where another policy is to be
/// compared with it, [`SHADOW_FILE`] or [`COMPRESSED_SHADOW_FILE`].
pub const POLICY_FOLDER: &str = "policy";
/// The bundle's file in [`POLICY_FOLDER`].
pub const BUNDLE_FILE: &str = "bundle.json";
/// The bundle's file where it is compressed.
pub const COMPRESSED_BUNDLE_FILE: &str = "bundle.json.gz";
/// The file of the bundle that is only compared.
pub const SHADOW_FILE: &str = "shadow.json";
/// The same where it is compressed.
pub const COMPRESSED_SHADOW_FILE: &str = "shadow.json.gz";
/// Folder of the signing keys: PKCS#8 PEM files ending in `.pem`; the name that sorts last signs.
pub const SIGNING_KEYS_FOLDER: &str = "signing-keys";
/// The first signing key's file in [`SIGNING_KEYS_FOLDER`].
pub const FIRST_SIGNING_KEY_FILE: &str = "000001.pem";
/// Folder of the service's own client: [`CLIENT_ID_FILE`] and [`CLIENT_SECRET_FILE`].
pub const CLIENT_FOLDER: &str = "client";
/// The client's identifier in [`CLIENT_FOLDER`].
pub const CLIENT_ID_FILE: &str = "client-id";
/// The client's secret in [`CLIENT_FOLDER`].
pub const CLIENT_SECRET_FILE: &str = "client-secret";
/// Folder of the clients that applications have: one file, [`CLIENTS_FILE`]. Not there outside Kubernetes.
pub const CLIENTS_FOLDER: &str = "clients";
/// The clients' file in [`CLIENTS_FOLDER`].
pub const CLIENTS_FILE: &str = "clients.json";
/// Folder of the credentials for remote backends: one file for each backend, named after it, and that of [`store_password_file`].
pub const BACKEND_CREDENTIALS_FOLDER: &str = "backend-credentials";
/// What the name of the store's password in [`BACKEND_CREDENTIALS_FOLDER`] begins with: no backend can be named like it.
const STORE_PASSWORD_PREFIX: &str = "_store-";
/// Digits by which passwords of different stores are told apart.
const STORE_DIGITS: usize = 12;

/// Folder of the certificate with which a replica shows who it is, and of the authority that signs whoever may ask it how it
/// is: [`CERTIFICATE_FILE`], [`CERTIFICATE_KEY_FILE`], [`AUTHORITY_FILE`]. Not there outside Kubernetes.
pub const CERTIFICATE_FOLDER: &str = "certificate";
/// The replica's certificate in [`CERTIFICATE_FOLDER`], PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// Its key in [`CERTIFICATE_FOLDER`], PKCS#8 in PEM.
pub const CERTIFICATE_KEY_FILE: &str = "tls.key";
/// Folder of the certificate that clients are shown, where that is another one: [`CERTIFICATE_FILE`] and
/// [`CERTIFICATE_KEY_FILE`]. Only there if somebody gave one.
pub const PUBLIC_CERTIFICATE_FOLDER: &str = "public-certificate";
/// The authority's certificate in [`CERTIFICATE_FOLDER`], PEM.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// The file of a store's password in [`BACKEND_CREDENTIALS_FOLDER`]. It says for which store it is: policy and credentials arrive one after the other,
/// and the password of one must not be sent to another.
pub fn store_password_file(store: &Store) -> String {
    let who = store.username.as_deref().unwrap_or_default();
    let hash = sha256_hex(format!("{who} {}", store.url));
    format!("{STORE_PASSWORD_PREFIX}{}", &hash[..STORE_DIGITS])
}
