//! Gets a certificate from the cluster, and the next one before it ends.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::{Api, Client};
use polynic_cni::cause::chain;
use polynic_runtime::Shutdown;
use tokio::time::{sleep, timeout};

use crate::certificate::request::{Identity, RequestError};
use crate::certificate::store::{Store, StoreError, Stored};

/// How often a request is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// How long somebody may take to approve it before it is made anew.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The request cannot be made.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The API server refuses or does not answer.
    #[error("cannot get a certificate for the node {node}")]
    Api {
        /// The node.
        node: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// Somebody decided against it.
    #[error("the certificate request {name} was not granted: {why}")]
    Refused {
        /// The request.
        name: String,
        /// The condition, with its message.
        why: String,
    },
    /// Nobody decided.
    #[error("nobody signed the certificate request {0} in time; does cert-approver run?")]
    Undecided(String),
    /// The certificate cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gets certificates for one node.
pub struct Issuer {
    /// The node's name.
    pub node: String,
    /// Where they are kept.
    pub store: Store,
    /// How long one is to be good.
    pub good: Duration,
}

impl Issuer {
    /// Gets a new certificate now.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub async fn issue(&self, client: &Client) -> Result<Stored, IssueError> {
        let failed = |source| IssueError::Api { node: self.node.clone(), source: Box::new(source) };
        let identity = Identity::new(&self.node)?;
        let api: Api<CertificateSigningRequest> = Api::all(client.clone());
        let made = api.create(&PostParams::default(), &identity.object(self.good)).await.map_err(failed)?;
        let name = made.metadata.name.unwrap_or_default();
        let signed = async {
            loop {
                let request = api.get(&name).await.map_err(failed)?;
                if let Some(certificate) = outcome(&request)? {
                    return Ok::<_, IssueError>(certificate);
                }
                sleep(PERIOD).await;
            }
        };
        let certificate =
            timeout(PATIENCE, signed).await.map_err(|_| IssueError::Undecided(name.clone()))??;
        Ok(self.store.save(&certificate, &identity.key, Timestamp::now())?)
    }

    /// Gets a certificate unless there is one that is good for a while.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub async fn ensure(&self, client: &Client) -> Result<Stored, IssueError> {
        match self.store.load() {
            Ok(Some(stored)) if stored.renewal() > Timestamp::now() => Ok(stored),
            // Half-written, from another program or expired: the next one takes its place.
            _ => self.issue(client).await,
        }
    }

    /// Renews the certificate in time until the shutdown. `client` gives a client for each attempt: credentials change with the certificate.
    pub async fn keep<F>(&self, client: impl Fn() -> F, shutdown: &Shutdown)
    where
        F: Future<Output = Result<Client, String>>,
    {
        let mut due = self.store.load().ok().flatten().map(|stored| stored.renewal());
        while shutdown.unless(sleep(until(due))).await.is_some() {
            let attempt = async {
                let client = client().await?;
                self.issue(&client).await.map_err(|why| chain(&why))
            };
            match shutdown.unless(attempt).await {
                Some(Ok(stored)) => due = Some(stored.renewal()),
                Some(Err(why)) => {
                    tracing::warn!(node = self.node, why, "the node's certificate is not renewed");
                    due = Timestamp::now().checked_add(RETRY).ok();
                }
                None => return,
            }
        }
    }
}

/// The time that is left, but not so little that a clock that runs wrong makes a storm.
fn until(due: Option<Timestamp>) -> Duration {
    let left = due.map(|due| due.duration_since(Timestamp::now()));
    let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
    left.max(PERIOD)
}

/// The certificate, or nothing yet.
fn outcome(request: &CertificateSigningRequest) -> Result<Option<Vec<u8>>, IssueError> {
    let Some(status) = &request.status else { return Ok(None) };
    let against =
        status.conditions.iter().flatten().find(|c| ["Denied", "Failed"].contains(&c.type_.as_str()));
    if let Some(condition) = against {
        let name = request.metadata.name.clone().unwrap_or_default();
        let why = format!("{}: {}", condition.type_, condition.message.as_deref().unwrap_or_default());
        return Err(IssueError::Refused { name, why });
    }
    Ok(status.certificate.as_ref().map(|pem| pem.0.clone()).filter(|pem| !pem.is_empty()))
}
