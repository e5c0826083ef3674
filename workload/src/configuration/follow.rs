//! Follows the configuration directory: what is good replaces what serves, what is bad changes nothing.

use super::{CertificateFiles, Changes, ClientFiles, Configuration, Folders, KeyPairFiles};
use crate::backend::Engines;
use crate::identity::KnownClients;
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::telemetry::{LogControl, Metrics};
use crate::tls;

/// Follows one directory.
pub struct Follower {
    folders: Folders,
    engines: Engines,
    service: Service,
    logging: LogControl,
    /// What the last refusal said: the same one is not told again at every look.
    last_refusal: Option<String>,
    /// The clients that were read last.
    clients: ClientFiles,
    /// The certificate that was read last, good or not.
    certificate: Option<CertificateFiles>,
    /// The same of the one that clients are shown; nothing where nothing is encrypted.
    public_certificate: Option<Option<KeyPairFiles>>,
}

impl Follower {
    /// Reads the directory for the first time; there is no service without it.
    pub fn start(
        folders: Folders,
        is_encrypted: bool,
        logging: LogControl,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let engines = Engines::default();
        let snapshot = Snapshot::build(Configuration::read(&folders)?, None, &engines)?;
        announce(&snapshot, &metrics, &logging);
        let clients = ClientFiles::read(&folders)?;
        let service = Service::new(snapshot, KnownClients::from(&clients), metrics.into());
        let mut follower = Self {
            folders,
            engines,
            service,
            logging,
            last_refusal: None,
            clients,
            certificate: None,
            public_certificate: is_encrypted.then_some(None),
        };
        follower.renew_certificates();
        Ok(follower)
    }

    /// The service that is kept up to date.
    pub fn service(&self) -> Service {
        self.service.clone()
    }

    /// Applies what changes, for as long as that can be watched. Reading keys and making clients takes its
    /// time, so it is done on a thread on which no request waits.
    pub async fn follow(mut self) -> anyhow::Result<()> {
        let mut changes = Changes::watch(&self.folders)?;
        loop {
            self = tokio::task::spawn_blocking(move || {
                self.look();
                self
            })
            .await?;
            changes.next().await?;
        }
    }

    fn look(&mut self) {
        self.renew_certificates();
        let renewed = self.renew_clients();
        match self.try_apply().and(renewed) {
            Ok(()) => {
                if self.last_refusal.take().is_some() {
                    self.service.note_refusal(None);
                }
            }
            Err(error) => {
                let refusal = error.to_string();
                if self.last_refusal.as_ref() != Some(&refusal) {
                    let serving = self.service.snapshot().bundle.revision().to_string();
                    self.service.metrics().refused();
                    self.service.note_refusal(Some(&refusal));
                    tracing::error!(reason = refusal, serving, "configuration refused");
                    self.last_refusal = Some(refusal);
                }
            }
        }
    }

    /// Nobody waits for a model to be thrown out.
    fn renew_clients(&mut self) -> anyhow::Result<()> {
        let clients = ClientFiles::read(&self.folders)?;
        if clients != self.clients {
            self.service.replace_clients(KnownClients::from(&clients));
            tracing::info!(registered = clients.registered.len(), "clients replaced");
            self.clients = clients;
        }
        Ok(())
    }

    fn renew_certificates(&mut self) {
        self.renew_certificate();
        self.renew_public_certificate();
    }

    /// One that is not good changes nothing: the replica serves on, and shows the one before while that lasts.
    fn renew_certificate(&mut self) {
        let files = match CertificateFiles::read(&self.folders) {
            Ok(files) if files == self.certificate => return,
            Ok(files) => files,
            Err(error) => return tracing::error!(%error, "the certificate cannot be read"),
        };
        match files.as_ref().map(tls::server_config).transpose() {
            Ok(certificate) => {
                tracing::info!(has_one = certificate.is_some(), "certificate replaced");
                self.service.replace_certificate(certificate);
            }
            Err(error) => tracing::error!(%error, "the certificate is refused"),
        }
        self.certificate = files;
    }

    /// The same of what clients are shown.
    fn renew_public_certificate(&mut self) {
        let Some(read_last) = &mut self.public_certificate else { return };
        let files = match KeyPairFiles::read(self.folders.shown_to_clients()) {
            Ok(files) if read_last.as_ref() == Some(&files) => return,
            Ok(files) => files,
            Err(error) => return tracing::error!(%error, "the certificate for clients cannot be read"),
        };
        match tls::public_certificate(&files) {
            Ok(certificate) => {
                tracing::info!(sha256 = certificate.fingerprint, "certificate for clients replaced");
                self.service.replace_public_certificate(certificate);
            }
            Err(error) => tracing::error!(%error, "the certificate for clients is refused"),
        }
        *read_last = Some(files);
    }

    fn try_apply(&self) -> anyhow::Result<()> {
        let configuration = Configuration::read(&self.folders)?;
        let current = self.service.snapshot();
        if !current.is_outdated(&configuration) {
            self.service.metrics().configuration_stale.set(0);
            return Ok(());
        }
        let snapshot = Snapshot::build(configuration, Some(&current), &self.engines)?;
        // A model takes seconds to load; until then, and if it fails, the one that works goes on working.
        snapshot.wait_for_models();
        if let Some(loss) = snapshot.loss_against(&current) {
            anyhow::bail!(loss);
        }
        if snapshot.is_no_better_than(&current) {
            return Ok(());
        }
        self.service.replace_snapshot(snapshot);
        announce(&self.service.snapshot(), self.service.metrics(), &self.logging);
        Ok(())
    }
}

fn announce(snapshot: &Snapshot, metrics: &Metrics, logging: &LogControl) {
    let revision = snapshot.bundle.revision().to_string();
    logging.set(snapshot.bundle.policy().observability.log_level);
    metrics.applied(&revision);
    tracing::info!(revision, hash = snapshot.bundle.hash(), "configuration applied");
}
