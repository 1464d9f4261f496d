//! Credentials of this node alone (`perNodeCertificate`, spec/multus.md 13.10): a certificate from the cluster, renewed before it ends, and a
//! client that goes by the newest one.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use polynic_cluster::{Reloading, client_from};
use polynic_cni::cause::chain;
use polynic_install::certificate::{Issuer, Store, generator};
use polynic_runtime::Shutdown;
use tokio::time::{sleep, timeout};

use super::Config;
use super::command::NAME;
use super::config::PerNodeCertificate;
use super::daemon::exit;
use crate::error::Failure;

/// How long the first certificate is waited for.
const FIRST: Duration = Duration::from_secs(120);
/// How often the link to the certificate is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Gets a certificate for the node, keeps it fresh until the shutdown, and answers a client that goes by it.
///
/// # Errors
/// There is no certificate within two minutes, or the node has no name (exit code 3).
pub(crate) async fn client(
    config: &Config,
    certificate: &PerNodeCertificate,
    shutdown: &Shutdown,
) -> Result<Client, Failure> {
    let cannot = |why: String| Failure { service: NAME, why, code: exit::CANNOT_SERVE };
    let node = config.node.clone();
    let node = node.ok_or_else(|| cannot("perNodeCertificate: MULTUS_NODE_NAME is not set".to_owned()))?;
    let own = Own { certificate: certificate.clone(), node };
    let first = timeout(FIRST, own.first()).await;
    let first =
        first.unwrap_or_else(|_| Err(format!("no certificate within {FIRST:?}; does cert-approver run?")));
    let first = first.map_err(|why| cannot(format!("perNodeCertificate: {why}")))?;
    Ok(own.go_by(first, shutdown))
}

/// What belongs to the node.
#[derive(Clone)]
struct Own {
    certificate: PerNodeCertificate,
    node: String,
}

impl Own {
    fn store(&self) -> Store {
        Store::new(&self.certificate.directory)
    }

    fn issuer(&self) -> Issuer {
        Issuer { node: self.node.clone(), store: self.store(), good: self.certificate.duration }
    }

    /// A client by a certificate that is there and good, or by a new one.
    async fn first(&self) -> Result<Client, String> {
        self.issuer().ensure(&self.bootstrap().await?).await.map_err(|why| chain(&why))?;
        self.by_certificate().await
    }

    async fn bootstrap(&self) -> Result<Client, String> {
        let client = client_from(Some(&self.certificate.bootstrap)).await.map_err(|why| chain(&why))?;
        client.ok_or_else(|| "the bootstrap configuration names no API server".to_owned())
    }

    async fn by_certificate(&self) -> Result<Client, String> {
        generator::client_by(&self.certificate.bootstrap, &self.store()).await.map_err(|why| chain(&why))
    }

    /// Who asks for the next certificate: the node by the one that it has, or if that is not good any more by what it began with.
    async fn renewing(&self) -> Result<Client, String> {
        if let Ok(own) = self.by_certificate().await
            && own.apiserver_version().await.is_ok()
        {
            return Ok(own);
        }
        self.bootstrap().await
    }

    /// A client that goes by the certificate of `first` and those that follow it, which are asked for in time.
    fn go_by(self, first: Client, shutdown: &Shutdown) -> Client {
        let (reloading, client) = Reloading::start(first);
        tokio::spawn(keep(self.clone(), shutdown.clone()));
        tokio::spawn(follow(self, reloading, shutdown.clone()));
        client
    }

    /// The file that is used now.
    fn used(&self) -> Option<PathBuf> {
        std::fs::read_link(self.store().current()).ok()
    }
}

async fn keep(own: Own, shutdown: Shutdown) {
    own.issuer().keep(|| own.renewing(), &shutdown).await;
}

/// Goes by another certificate when the link leads to it, whoever renewed it. One that cannot be used yet is looked at again.
async fn follow(own: Own, reloading: Reloading, shutdown: Shutdown) {
    let mut used = own.used();
    while shutdown.unless(sleep(LOOK)).await.is_some() {
        let now = own.used();
        if now.is_none() || now == used {
            continue;
        }
        match own.by_certificate().await {
            Ok(client) => {
                tracing::info!(node = own.node, "the node's certificate was renewed");
                reloading.replace(client);
                used = now;
            }
            Err(why) => tracing::warn!(node = own.node, why, "the node's new certificate cannot be used"),
        }
    }
}

#[cfg(test)]
mod tests;
