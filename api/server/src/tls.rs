//! TLS: one provider, and certificates that are read again when they change.

use crate::limits;
use crate::running::Tls;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::MissedTickBehavior;

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no PEM of what it should.
    #[error("{} cannot be read as PEM", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// They do not fit each other, or are of a kind that is not known.
    #[error("certificate and key cannot be used together")]
    Unusable(#[source] rustls::Error),
}

impl Tls {
    /// Reads both files and makes sure that they can be used together.
    pub fn check(&self) -> Result<(), TlsError> {
        read(self).map(drop)
    }
}

/// The certificate that the listener shows, and the files that it comes from.
pub(crate) struct Certificate {
    files: Tls,
    seen: Seen,
    config: RustlsConfig,
}

/// When each file was changed, and its length.
type Seen = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    /// Reads certificate and key.
    pub(crate) fn load(files: Tls) -> Result<Self, TlsError> {
        // Looked at before they are read, so that no change in between is missed.
        let seen = changed_at(&files);
        let config = RustlsConfig::from_config(Arc::new(read(&files)?));
        Ok(Self { files, seen, config })
    }

    /// Returns what the listener uses. It changes with the files.
    pub(crate) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again whenever they change. What cannot be used is passed
    /// over: the old certificate serves on.
    pub(crate) async fn follow(mut self) {
        let mut ticks = tokio::time::interval(limits::TLS_RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = changed_at(&self.files);
            if now == self.seen {
                continue;
            }
            // Also when it fails: the next change is looked at again.
            self.seen = now;
            match read(&self.files) {
                Ok(fresh) => {
                    self.config.reload_from_config(Arc::new(fresh));
                    tracing::info!("The certificate was read again.");
                }
                Err(error) => tracing::warn!(
                    error = crate::problem::chain(&error),
                    "The changed certificate cannot be used; the old one serves on."
                ),
            }
        }
    }
}

fn changed_at(files: &Tls) -> Seen {
    let of = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [of(&files.cert), of(&files.key)]
}

fn read(files: &Tls) -> Result<ServerConfig, TlsError> {
    let pem = |path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Pem { path, source }
    };
    let certificates = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(&files.cert))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: files.cert.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem(&files.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
