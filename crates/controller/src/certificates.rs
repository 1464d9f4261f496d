//! The webhooks' certificate: made when there is none, kept in a Secret that all replicas share, and renewed long before it ends.
//!
//! The API server must trust an authority before anybody serves a certificate of it. So a new authority is published first, beside the old
//! one, then the Secret is written, and only what the Secret says is served. A crash between the two leaves an authority that vouches for
//! nothing.

mod provided;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use polynic_runtime::Shutdown;
use polynic_runtime::tls::{self, Identity, ServerCertificate, TlsError, Wish};
use tokio::time::sleep;

pub use provided::{CertificateFiles, Provided};

use crate::webhook::registration::Registration;

/// How long a certificate is good.
const VALIDITY: SignedDuration = SignedDuration::from_hours(365 * 24);
/// It is renewed when less than this is left.
const RENEWAL: SignedDuration = SignedDuration::from_hours(120 * 24);
/// Clocks of a cluster differ by less.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);
/// How often the Secret and the configurations are looked at.
const PERIOD: Duration = Duration::from_secs(60);
/// The same while something is wrong.
const RETRY: Duration = Duration::from_secs(2);

/// Why the certificate is not in order.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server refuses.
    #[error("cannot keep the certificate of the webhooks")]
    Api(#[from] Box<kube::Error>),
    /// The certificate cannot be made or used.
    #[error("the certificate of the webhooks cannot be used")]
    Tls(#[from] TlsError),
}

impl From<kube::Error> for CertificateError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Keeps a certificate.
pub struct Certificates {
    /// The API server.
    pub client: Client,
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Names and addresses that the certificate is good for.
    pub names: Vec<String>,
    /// Who has to trust the authority.
    pub registration: Registration,
    /// What is served.
    pub serving: ServerCertificate,
}

/// What to do about the Secret.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Renew(&'static str),
}

impl Certificates {
    /// Keeps everything in order until the end.
    pub async fn run(&self, shutdown: &Shutdown) {
        let rounds = async {
            loop {
                let kept = self.keep(Timestamp::now()).await;
                let pause = match kept {
                    Ok(()) => PERIOD,
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(%error, cause, "the webhooks' certificate is not in order yet");
                        RETRY
                    }
                };
                sleep(pause).await;
            }
        };
        let _: Option<()> = shutdown.unless(rounds).await;
    }

    /// One round: the Secret, what is served, and the configurations are right afterwards.
    ///
    /// # Errors
    /// The API server refuses, or what the Secret holds cannot be used and not be replaced.
    pub async fn keep(&self, now: Timestamp) -> Result<(), CertificateError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = api.get_opt(&self.secret).await?;
        let there = secret.as_ref().and_then(identity_of);
        let identity = match verdict(there.as_ref(), now) {
            Verdict::Keep => there,
            Verdict::Renew(why) => {
                tracing::info!(why, secret = self.secret, "a new certificate for the webhooks");
                self.renew(&api, secret.as_ref(), there.as_ref(), now).await?
            }
        };
        // Somebody else was faster; the next round finds theirs.
        let Some(identity) = identity else { return Ok(()) };
        self.serving.set(&identity.certificate, &identity.key)?;
        self.registration.keep(&self.client, &identity.authorities).await?;
        Ok(())
    }

    async fn renew(
        &self,
        api: &Api<Secret>,
        secret: Option<&Secret>,
        old: Option<&Identity>,
        now: Timestamp,
    ) -> Result<Option<Identity>, CertificateError> {
        let (from, until) =
            (now.saturating_sub(BACKDATED).unwrap_or(now), now.saturating_add(VALIDITY).unwrap_or(now));
        let mut identity =
            tls::make(&Wish { name: "spiderpool-controller", names: self.names.clone(), from, until })?;
        identity.authorities.push_str(&old.map(|old| first_pem(&old.authorities)).unwrap_or_default());
        // The first certificate has no predecessor that is trusted: nobody is sent here before it is served.
        if old.is_some() {
            self.registration.keep(&self.client, &identity.authorities).await?;
        }
        let metadata = ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() };
        let new = Secret {
            metadata: secret.map_or(metadata, |secret| secret.metadata.clone()),
            type_: Some(
                secret
                    .and_then(|secret| secret.type_.clone())
                    .unwrap_or_else(|| "kubernetes.io/tls".to_owned()),
            ),
            data: Some(data_of(&identity)),
            ..Secret::default()
        };
        let written = match secret {
            Some(_) => api.replace(&self.secret, &PostParams::default(), &new).await,
            None => api.create(&PostParams::default(), &new).await,
        };
        match written {
            Ok(_) => Ok(Some(identity)),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let theirs = api.get_opt(&self.secret).await?;
                Ok(theirs.as_ref().and_then(identity_of))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn verdict(identity: Option<&Identity>, now: Timestamp) -> Verdict {
    let Some(identity) = identity else { return Verdict::Renew("there is none") };
    let Ok(until) = tls::expiry(&identity.certificate) else { return Verdict::Renew("it cannot be read") };
    if ServerCertificate::default().set(&identity.certificate, &identity.key).is_err() {
        return Verdict::Renew("it does not fit its key");
    }
    if until.duration_since(now) < RENEWAL { Verdict::Renew("it ends soon") } else { Verdict::Keep }
}

fn identity_of(secret: &Secret) -> Option<Identity> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    Some(Identity { certificate: text("tls.crt")?, key: text("tls.key")?, authorities: text("ca.crt")? })
}

fn data_of(identity: &Identity) -> BTreeMap<String, ByteString> {
    let parts =
        [("tls.crt", &identity.certificate), ("tls.key", &identity.key), ("ca.crt", &identity.authorities)];
    parts.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes()))).into()
}

/// The newest authority of a bundle: it stands first.
fn first_pem(bundle: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    bundle
        .split_inclusive(END)
        .next()
        .filter(|pem| pem.ends_with(END))
        .map(|pem| format!("{}\n", pem.trim()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn identity() -> Identity {
        let (from, until) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        tls::make(&Wish { name: "n", names: vec!["n".into()], from, until }).unwrap()
    }

    #[test]
    fn a_certificate_is_kept_until_a_third_is_left() {
        let identity = identity();
        assert_eq!(verdict(Some(&identity), at("2026-08-01T00:00:00Z")), Verdict::Keep);
        assert_eq!(verdict(Some(&identity), at("2026-10-01T00:00:00Z")), Verdict::Renew("it ends soon"));
        assert_eq!(verdict(None, at("2026-10-01T00:00:00Z")), Verdict::Renew("there is none"));
    }

    #[test]
    fn what_cannot_be_used_is_renewed() {
        let now = at("2026-02-01T00:00:00Z");
        let broken = Identity { certificate: "x".into(), ..identity() };
        assert_eq!(verdict(Some(&broken), now), Verdict::Renew("it cannot be read"));
        let mixed = Identity { key: identity().key, ..identity() };
        assert_eq!(verdict(Some(&mixed), now), Verdict::Renew("it does not fit its key"));
    }

    #[test]
    fn a_secret_reads_back() {
        let identity = identity();
        let secret = Secret { data: Some(data_of(&identity)), ..Secret::default() };
        assert!(identity_of(&secret).is_some_and(|read| read == identity));
        assert!(identity_of(&Secret::default()).is_none());
        let bundle = format!("{}{}", identity.authorities, identity.certificate);
        assert_eq!(first_pem(&bundle).trim(), identity.authorities.trim());
        assert_eq!(first_pem("nonsense"), "");
    }
}
