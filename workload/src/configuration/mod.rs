//! The configuration directory: what the operator mounts, or what a person lays out by hand.

mod compile;
mod follow;
mod initialize;
mod read;
mod watch;

pub use compile::compile;
pub use follow::Follower;
pub use initialize::initialize;
pub use read::{CertificateFiles, ClientFiles, Configuration, KeyPairFiles, ReadError};
pub use watch::Changes;

use codecrucible_contract::layout;
use std::path::{Path, PathBuf};

/// Where each part of the configuration lies.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The policy bundle.
    pub policy: PathBuf,
    /// The signing keys.
    pub signing_keys: PathBuf,
    /// The client's credentials.
    pub client: PathBuf,
    /// The clients of applications.
    pub clients: PathBuf,
    /// The credentials for remote backends.
    pub backend_credentials: PathBuf,
    /// The replica's certificate.
    pub certificate: PathBuf,
    /// The certificate that clients are shown, if somebody gave another one.
    pub public_certificate: PathBuf,
}

impl Folders {
    /// The folders below one directory.
    pub fn new(root: &Path) -> Self {
        Self {
            policy: root.join(layout::POLICY_FOLDER),
            signing_keys: root.join(layout::SIGNING_KEYS_FOLDER),
            client: root.join(layout::CLIENT_FOLDER),
            clients: root.join(layout::CLIENTS_FOLDER),
            backend_credentials: root.join(layout::BACKEND_CREDENTIALS_FOLDER),
            certificate: root.join(layout::CERTIFICATE_FOLDER),
            public_certificate: root.join(layout::PUBLIC_CERTIFICATE_FOLDER),
        }
    }

    /// The certificate that clients are shown.
    pub fn shown_to_clients(&self) -> &Path {
        if self.public_certificate.is_dir() { &self.public_certificate } else { &self.certificate }
    }

    fn all(&self) -> [&Path; 7] {
        let Self {
            policy,
            signing_keys,
            client,
            clients,
            backend_credentials,
            certificate,
            public_certificate,
        } = self;
        [policy, signing_keys, client, clients, backend_credentials, certificate, public_certificate]
    }
}
