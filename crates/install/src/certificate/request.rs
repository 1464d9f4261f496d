//! What a node asks for: a key, and a request to sign it.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::ObjectMeta;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::certificate::{PREFIX, SIGNER};

/// Keys cannot be made, or a request not be signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate request for the node {node}")]
pub struct RequestError {
    /// The node.
    node: String,
    /// Why.
    #[source]
    source: rcgen::Error,
}

/// A key with a request that names its node.
pub struct Identity {
    /// The private key, PEM.
    pub key: String,
    /// The request, PEM.
    pub request: String,
}

impl Identity {
    /// A new one for a node.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn new(node: &str) -> Result<Self, RequestError> {
        Self::make(node).map_err(|source| RequestError { node: node.to_owned(), source })
    }

    fn make(node: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, PREFIX);
        params.distinguished_name.push(DnType::CommonName, format!("{PREFIX}:{node}"));
        let request = params.serialize_request(&key)?.pem()?;
        Ok(Self { key: key.serialize_pem(), request })
    }

    /// The object that asks the cluster to sign it, for a certificate that is good so long.
    pub fn object(&self, good: Duration) -> CertificateSigningRequest {
        CertificateSigningRequest {
            metadata: ObjectMeta { generate_name: Some("csr-multus-".to_owned()), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                expiration_seconds: Some(i32::try_from(good.as_secs()).unwrap_or(i32::MAX)),
                request: ByteString(self.request.clone().into_bytes()),
                signer_name: SIGNER.to_owned(),
                usages: Some(["digital signature", "client auth"].map(str::to_owned).to_vec()),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        }
    }
}
