//! Certificates for servers inside of the cluster: made here, and exchanged without a restart.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// Why a certificate cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// It is no PEM of a certificate.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// It is no PEM of a private key.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// TLS does not accept it.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
}

/// A server's certificate with its key, and whom clients are to trust; all PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, perhaps with intermediate ones.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The authorities that clients are to trust.
    pub authorities: String,
}

/// What a certificate is to be good for.
pub struct Wish<'a> {
    /// Common name of the authority and the server.
    pub name: &'a str,
    /// Names and addresses that clients use.
    pub names: Vec<String>,
    /// From when, to the day.
    pub from: Timestamp,
    /// Until when, to the day.
    pub until: Timestamp,
}

/// Makes an authority, and a certificate from it. The authority's key is forgotten: nothing else will ever be signed by it.
///
/// # Errors
/// A name is none.
pub fn make(wish: &Wish<'_>) -> Result<Identity, TlsError> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    // Names differ with the time, so that an old and a new authority in one bundle are told apart.
    ca.distinguished_name.push(DnType::CommonName, format!("{}-ca@{}", wish.name, wish.from.as_second()));
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let (from, until) = (date(wish.from), date(wish.until));
    ca.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    ca.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let authority = ca.self_signed(&ca_key)?;
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(wish.names.clone())?;
    server.distinguished_name.push(DnType::CommonName, wish.name);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    server.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    server.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key))?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem(), authorities: authority.pem() })
}

/// Year, month and day in UTC.
fn date(time: Timestamp) -> (i32, u8, u8) {
    let date = time.to_zoned(TimeZone::UTC).date();
    (date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
}

/// Until when the first certificate of a PEM text is good.
///
/// # Errors
/// The text is no certificate.
pub fn expiry(certificate: &str) -> Result<Timestamp, TlsError> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes());
    let der = der.map_err(|why| TlsError::Certificate(why.to_string()))?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(&der).map_err(|why| TlsError::Certificate(why.to_string()))?;
    let until = parsed.validity().not_after.timestamp();
    Timestamp::from_second(until).map_err(|why| TlsError::Certificate(why.to_string()))
}

/// A certificate in use, which can be exchanged. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct ServerCertificate(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl ServerCertificate {
    /// Uses another certificate from the next connection on.
    ///
    /// # Errors
    /// Certificate or key cannot be read, or do not belong together; the old ones stay in use.
    pub fn set(&self, certificate: &str, key: &str) -> Result<(), TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|why| TlsError::Certificate(why.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|why| TlsError::Key(why.to_string()))?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
        Ok(())
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// TLS with whatever certificate is in use at the time of a connection.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        // What `http` speaks: an API server that asks a webhook by its URL prefers h2 where it is offered.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(from: &str, until: &str) -> Identity {
        let names = vec!["spiderpool-controller.kube-system.svc".to_owned(), "127.0.0.1".to_owned()];
        let wish = Wish {
            name: "spiderpool-controller",
            names,
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
        };
        make(&wish).unwrap()
    }

    #[test]
    fn a_certificate_says_until_when_it_is_good() {
        let identity = made("2026-01-02T03:04:05Z", "2027-01-02T03:04:05Z");
        assert_eq!(expiry(&identity.certificate).unwrap(), "2027-01-02T00:00:00Z".parse().unwrap());
        assert!(matches!(expiry("nonsense"), Err(TlsError::Certificate(_))));
    }

    #[test]
    fn a_certificate_and_a_key_that_do_not_fit_change_nothing() {
        let (one, two) = (
            made("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            made("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        );
        let certificate = ServerCertificate::default();
        assert!(certificate.set(&one.certificate, &two.key).is_err() && !certificate.is_set());
        assert!(certificate.set(&one.certificate, "nonsense").is_err() && !certificate.is_set());
        certificate.set(&one.certificate, &one.key).unwrap();
        assert!(certificate.is_set() && certificate.acceptor().is_ok());
    }
}
