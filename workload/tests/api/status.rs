//! What a replica says of its configuration, and to whom.

use crate::program::Program;
use crate::support::{Folder, bundle, policy};
use codecrucible_contract::certificates::{Certified, Role, authority, issue};
use codecrucible_contract::{Acknowledgement, Bundle, STATUS_PATH};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const NAME: &str = "team/demo";

/// An authority, and what it signs.
struct Pki {
    authority: Certified,
    now: i64,
}

impl Pki {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
        Self { authority: authority(NAME, now).unwrap(), now }
    }

    fn server(&self) -> Certified {
        issue(&self.authority, NAME, Role::Server(&["demo.team.svc".into()]), self.now).unwrap()
    }

    fn operator(&self) -> Certified {
        issue(&self.authority, NAME, Role::Client("operator"), self.now).unwrap()
    }

    /// Lays a certificate into a configuration directory.
    fn write(&self, folder: &Folder, server: &Certified) {
        let files = folder.0.join("certificate");
        std::fs::create_dir_all(&files).unwrap();
        let write = |name: &str, text: &str| std::fs::write(files.join(name), text).unwrap();
        write("ca.crt", &self.authority.certificate);
        write("tls.crt", &server.certificate);
        write("tls.key", &server.key);
    }

    /// Asks as somebody, or as nobody; gives the answer and the certificate that was shown.
    fn ask(&self, address: &str, who: Option<&Certified>) -> std::io::Result<(Acknowledgement, Vec<u8>)> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.authority)).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match who {
            Some(who) => {
                let key = PrivateKeyDer::from_pem_slice(who.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate(who)], key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let connection =
            ClientConnection::new(Arc::new(config), "demo.team.svc".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
        write!(stream, "GET {STATUS_PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        Ok((serde_json::from_str(body).unwrap(), shown))
    }
}

fn certificate(certified: &Certified) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certified.certificate.as_bytes()).unwrap()
}

fn start(pki: &Pki, folder: &Folder) -> (Program, String) {
    pki.write(folder, &pki.server());
    let program = Program::start_with(folder, &["--status-listen", "127.0.0.1:0"]);
    let address = program.says("telling what was applied")["status"].as_str().unwrap().to_owned();
    (program, address)
}

#[test]
fn the_operator_is_told_what_was_applied_and_why_something_was_not() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let first = Bundle::compile(policy("http://127.0.0.1:9/v1"), None).unwrap();
    folder.write_bundle(&first.to_json());
    let (program, address) = start(&pki, &folder);
    let ask = || pki.ask(&address, Some(&pki.operator())).unwrap().0;
    let told = ask();
    assert_eq!((told.revision, told.hash), (first.revision().to_string(), first.hash().to_owned()));
    assert_eq!(told.refused, None);

    folder.write_bundle("nonsense");
    program.says("configuration refused");
    let told = ask();
    assert_eq!(told.revision, first.revision().to_string());
    assert!(told.refused.unwrap().reason.contains("does not parse"));

    let mut changed = policy("http://127.0.0.1:9/v1");
    changed.synthesis.max_tokens_per_voice += 1;
    let second = Bundle::compile(changed, Some(first.revision())).unwrap();
    folder.write_bundle(&second.to_json());
    while program.says("configuration applied")["revision"] != second.revision().to_string() {}
    let told = ask();
    assert_eq!((told.revision, told.refused), (second.revision().to_string(), None));
}

#[test]
fn nobody_but_the_operator_is_told_anything() {
    let (pki, folder) = (Pki::new(), Folder::new());
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    let (_program, address) = start(&pki, &folder);
    assert!(pki.ask(&address, Some(&pki.operator())).is_ok());
    let stranger = Pki::new();
    assert!(pki.ask(&address, None).is_err(), "without a certificate");
    assert!(pki.ask(&address, Some(&stranger.operator())).is_err(), "of another authority");
    assert!(pki.ask(&address, Some(&pki.server())).is_err(), "a replica is no operator");
    let mut plain = TcpStream::connect(&address).unwrap();
    // In one piece: at the first one that is no TLS, the other side hangs up.
    plain.write_all(format!("GET {STATUS_PATH} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "without encryption");
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart_even_while_the_policy_is_refused_and_a_broken_one_is_not()
{
    let (pki, folder) = (Pki::new(), Folder::new());
    folder.write_bundle(&bundle(policy("http://127.0.0.1:9/v1")));
    let (program, address) = start(&pki, &folder);
    folder.write_bundle("nonsense");
    program.says("configuration refused");
    let renewed = pki.server();
    pki.write(&folder, &renewed);
    let shown = || pki.ask(&address, Some(&pki.operator())).unwrap().1;
    while shown() != certificate(&renewed).to_vec() {
        program.says("certificate replaced");
    }
    // A key in the wrong place must not come into the log either.
    std::fs::write(folder.0.join("certificate/tls.crt"), "-----BEGIN secret words").unwrap();
    let refusal = program.says("the certificate is refused");
    assert_eq!(refusal["error"], "the certificate: is not PEM");
    assert_eq!(shown(), certificate(&renewed).to_vec());
}
