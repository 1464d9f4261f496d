//! The webhooks' certificate from files that somebody else keeps, such as a Secret of cert-manager: read again and again, and the webhooks
//! registered with its authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use polynic_runtime::Shutdown;
use polynic_runtime::tls::{ServerCertificate, TlsError};
use tokio::time::sleep;

use crate::webhook::registration::Registration;

/// How often the files are read again.
const PERIOD: Duration = Duration::from_secs(10);
/// What stands beside the certificate in Secrets of cert-manager, and of users who have an authority of their own.
const AUTHORITY: &str = "ca.crt";

/// A certificate that is not made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM of the certificate. Its directory may have a `ca.crt`; without one it is taken for its own authority.
    pub certificate: PathBuf,
    /// PEM of the key.
    pub key: PathBuf,
}

/// Why such a certificate is not in order.
#[derive(Debug, thiserror::Error)]
enum ProvidedError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the certificate cannot be used")]
    Tls(#[from] TlsError),
    #[error("the webhooks cannot be registered")]
    Api(#[source] Box<kube::Error>),
}

/// Keeps serving and registration in step with the files.
pub struct Provided {
    /// The API server.
    pub client: Client,
    /// The files.
    pub files: CertificateFiles,
    /// Who has to trust the authority.
    pub registration: Registration,
    /// What is served.
    pub serving: ServerCertificate,
}

impl Provided {
    /// Until the end. Files that cannot be used leave the old certificate in use.
    pub async fn run(&self, shutdown: &Shutdown) {
        let rounds = async {
            loop {
                if let Err(error) = self.keep().await {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the webhooks' certificate is not in order yet");
                }
                sleep(PERIOD).await;
            }
        };
        let _: Option<()> = shutdown.unless(rounds).await;
    }

    async fn keep(&self) -> Result<(), ProvidedError> {
        let certificate = read(&self.files.certificate)?;
        self.serving.set(&certificate, &read(&self.files.key)?)?;
        let authority = self.files.certificate.with_file_name(AUTHORITY);
        let authorities = if authority.exists() { read(&authority)? } else { certificate };
        let kept = self.registration.keep(&self.client, &authorities).await;
        kept.map_err(|error| ProvidedError::Api(Box::new(error)))
    }
}

fn read(path: &Path) -> Result<String, ProvidedError> {
    fs::read_to_string(path).map_err(|source| ProvidedError::Read { path: path.to_owned(), source })
}
