//! One reading of the whole configuration directory.

use super::Folders;
use codecrucible_contract::{
    BackendKind, Bundle, BundleError, Clients, MAX_BUNDLE_BYTES, MAX_CLIENTS_BYTES, MAX_PACKED_BYTES, layout,
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest key or credential, bytes.
const MAX_SECRET_BYTES: usize = 64 * 1024;
/// Most signing keys.
const MAX_SIGNING_KEYS: usize = 16;

/// Everything that was read. Deliberately without `Debug`: it holds secrets.
pub struct Configuration {
    /// The validated bundle.
    pub bundle: Bundle,
    /// The one that is only compared with it, or why it cannot be. It refuses nothing else.
    pub shadow: Option<Result<Bundle, String>>,
    /// PKCS#8 PEM files by name; the last one signs.
    pub signing_keys: BTreeMap<String, Vec<u8>>,
    /// Bearer tokens by backend.
    pub backend_credentials: BTreeMap<String, String>,
    /// Passwords of stores, by the names of their files.
    pub store_passwords: BTreeMap<String, String>,
}

/// Whom the service lets in. Read apart from everything else: a policy that is refused, or a model that takes its time, must
/// not keep anybody in who was thrown out. Without `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The identifier of the service's own client.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The clients of applications.
    pub registered: Clients,
}

impl ClientFiles {
    /// Reads them.
    pub fn read(folders: &Folders) -> Result<Self, ReadError> {
        Ok(Self {
            id: read_text(&folders.client.join(layout::CLIENT_ID_FILE))?,
            secret: read_text(&folders.client.join(layout::CLIENT_SECRET_FILE))?,
            registered: clients(&folders.clients)?,
        })
    }
}

/// The replica's certificate with its key, and that of the authority. PEM, not parsed yet. Read apart from everything
/// else: a policy that is refused must not keep a replica from saying so.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate with its key.
    pub own: KeyPairFiles,
    /// Who signed it, and signs for those who may ask.
    pub authority: Vec<u8>,
}

/// A certificate with its key. PEM, not parsed yet.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// The certificate, and those that vouch for it.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl KeyPairFiles {
    /// Reads them from a folder.
    pub fn read(folder: &Path) -> Result<Self, ReadError> {
        let read = |file| read_file(&folder.join(file), MAX_SECRET_BYTES);
        Ok(Self { certificate: read(layout::CERTIFICATE_FILE)?, key: read(layout::CERTIFICATE_KEY_FILE)? })
    }
}

/// Why the directory cannot be used. Messages name files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file is absent or unreadable.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl Configuration {
    /// Reads everything; nothing is kept from a reading that fails.
    pub fn read(folders: &Folders) -> Result<Self, ReadError> {
        let files = (layout::BUNDLE_FILE, layout::COMPRESSED_BUNDLE_FILE);
        let bundle = bundle(&folders.policy, files)?;
        let shadow = shadow(&folders.policy);
        let backend_credentials = backend_credentials(&bundle, &folders.backend_credentials)?;
        let store_passwords = store_passwords(&bundle, &folders.backend_credentials)?;
        let signing_keys = signing_keys(&folders.signing_keys)?;
        Ok(Self { bundle, shadow, signing_keys, backend_credentials, store_passwords })
    }

    /// A hash of everything that was read.
    pub fn fingerprint(&self) -> [u8; 32] {
        let Self { bundle, shadow, signing_keys, backend_credentials, store_passwords } = self;
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        add(bundle.revision().to_string().as_bytes());
        add(bundle.hash().as_bytes());
        match shadow {
            None => {}
            Some(Ok(shadow)) => [&*shadow.revision().to_string(), shadow.hash()]
                .into_iter()
                .for_each(|text| add(text.as_bytes())),
            Some(Err(reason)) => add(reason.as_bytes()),
        }
        signing_keys.iter().for_each(|(name, pem)| [name.as_bytes(), pem].into_iter().for_each(&mut add));
        backend_credentials
            .iter()
            .chain(store_passwords)
            .for_each(|(name, value)| [name, value].into_iter().for_each(|text| add(text.as_bytes())));
        hash.finalize().into()
    }
}

impl CertificateFiles {
    /// Reads them. Nothing where there are none.
    pub fn read(folders: &Folders) -> Result<Option<Self>, ReadError> {
        let folder = &folders.certificate;
        if !folder.is_dir() {
            return Ok(None);
        }
        let authority = read_file(&folder.join(layout::AUTHORITY_FILE), MAX_SECRET_BYTES)?;
        Ok(Some(Self { own: KeyPairFiles::read(folder)?, authority }))
    }
}

/// Plain or compressed: a folder that is swapped as a whole has one of the two.
fn bundle(folder: &Path, (plain, compressed): (&str, &str)) -> Result<Bundle, ReadError> {
    let (plain, compressed) = (folder.join(plain), folder.join(compressed));
    if plain.exists() && compressed.exists() {
        // Which of them is meant nobody can tell.
        return Err(ReadError::File { path: compressed, reason: "lies beside the one that is plain".into() });
    }
    if compressed.exists() {
        return Ok(Bundle::parse_compressed(&read_file(&compressed, MAX_PACKED_BYTES)?)?);
    }
    Ok(Bundle::parse(&read_file(&plain, MAX_BUNDLE_BYTES)?)?)
}

/// Nothing where there is no file.
fn shadow(folder: &Path) -> Option<Result<Bundle, String>> {
    let files @ (plain, compressed) = (layout::SHADOW_FILE, layout::COMPRESSED_SHADOW_FILE);
    let is_there = [plain, compressed].iter().any(|file| folder.join(file).exists());
    is_there.then(|| bundle(folder, files).map_err(|error| error.to_string()))
}

fn signing_keys(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
    let problem = |reason: String| ReadError::File { path: folder.to_owned(), reason };
    let mut keys = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| problem(error.to_string()))? {
        let path = entry.map_err(|error| problem(error.to_string()))?.path();
        let Some(name) =
            path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".pem"))
        else {
            continue;
        };
        keys.insert(name.to_owned(), read_file(&path, MAX_SECRET_BYTES)?);
    }
    match keys.len() {
        0 => Err(problem("holds no signing key (*.pem)".into())),
        count if count > MAX_SIGNING_KEYS => {
            Err(problem(format!("holds {count} keys, more than {MAX_SIGNING_KEYS}")))
        }
        _ => Ok(keys),
    }
}

/// None where there is no folder.
fn clients(folder: &Path) -> Result<Clients, ReadError> {
    if !folder.is_dir() {
        return Ok(Clients::default());
    }
    let path = folder.join(layout::CLIENTS_FILE);
    let bytes = read_file(&path, MAX_CLIENTS_BYTES)?;
    Clients::parse(&bytes).map_err(|invalid| ReadError::File { path, reason: invalid.problem })
}

fn backend_credentials(bundle: &Bundle, folder: &Path) -> Result<BTreeMap<String, String>, ReadError> {
    let needs_credential =
        |kind: &BackendKind| matches!(kind, BackendKind::Remote(remote) if remote.has_credential);
    let backends = bundle.policy().backends.iter().filter(|backend| needs_credential(&backend.kind));
    backends.map(|backend| Ok((backend.name.clone(), read_text(&folder.join(&backend.name))?))).collect()
}

fn store_passwords(bundle: &Bundle, folder: &Path) -> Result<BTreeMap<String, String>, ReadError> {
    let files =
        bundle.policy().stores().filter(|store| store.has_credential).map(layout::store_password_file);
    files.map(|file| Ok((file.clone(), read_text(&folder.join(file))?))).collect()
}

fn read_text(path: &Path) -> Result<String, ReadError> {
    let problem = |reason: &str| ReadError::File { path: path.to_owned(), reason: reason.to_owned() };
    let text = String::from_utf8(read_file(path, MAX_SECRET_BYTES)?).map_err(|_| problem("is not UTF-8"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(problem("is empty"));
    }
    Ok(text.to_owned())
}

/// Reads at most one byte more than the limit, so that a hostile file costs no memory.
fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let problem = |reason: String| ReadError::File { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| problem(error.to_string()))?;
    if bytes.len() > limit {
        return Err(problem(format!("is larger than the limit of {limit} bytes")));
    }
    Ok(bytes)
}
