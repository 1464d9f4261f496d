//! One HTTPS POST to a webhook. Errors are the sentences that clients of other API servers know.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::hook::{Endpoint, Hook};
use super::resolve::{self, ServiceResolver, Stream};
use crate::store::Store;

/// Bytes that an answer may have.
const ANSWER_LIMIT: usize = 3 << 20;

/// What a call needs besides the webhook.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) store: &'a Store,
    pub(super) resolver: Option<&'a dyn ServiceResolver>,
}

/// Where a webhook is, in the form of a URL.
struct Address {
    host: String,
    port: u16,
    /// Host and port as in the URL.
    authority: String,
    path: String,
}

/// Asks `hook` the question `body` and returns its answer, or why there is none.
pub(super) async fn call(around: Surroundings<'_>, hook: &Hook, body: Vec<u8>) -> Result<Value, String> {
    let address = Address::of(&hook.endpoint)?;
    let target = format!("{}?timeout={}s", address.path, hook.timeout.as_secs());
    let prefix = format!("Post \"https://{}{target}\"", address.authority);
    let exchange = exchange(around, hook, &address, (&target, body));
    match tokio::time::timeout(hook.timeout, exchange).await {
        Err(_) => Err(format!("{prefix}: context deadline exceeded")),
        Ok(Err(Failure::Transport(why))) => Err(format!("{prefix}: {why}")),
        Ok(Err(Failure::Answer(why))) => Err(why),
        Ok(Ok(answer)) => Ok(answer),
    }
}

impl Address {
    fn of(endpoint: &Endpoint) -> Result<Self, String> {
        match endpoint {
            Endpoint::Service { namespace, name, path, port } => {
                let host = format!("{name}.{namespace}.svc");
                let path = if path.is_empty() { "/".into() } else { path.clone() };
                Ok(Self { authority: format!("{host}:{port}"), host, port: *port, path })
            }
            Endpoint::Url(url) => {
                let uri: Uri = url.parse().map_err(|e| format!("Unparsable URL: {e}"))?;
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
                Ok(Self { host, port: uri.port_u16().unwrap_or(443), authority, path: uri.path().into() })
            }
        }
    }
}

enum Failure {
    /// There was no answer.
    Transport(String),
    /// There was one, of no use.
    Answer(String),
}

fn transport(error: impl Display) -> Failure {
    Failure::Transport(error.to_string())
}

async fn exchange(
    around: Surroundings<'_>,
    hook: &Hook,
    address: &Address,
    (target, body): (&str, Vec<u8>),
) -> Result<Value, Failure> {
    let stream = connect(around, &hook.endpoint, address).await?;
    let name = ServerName::try_from(address.host.clone()).map_err(transport)?;
    let stream = tls(&hook.ca_bundle)?.connect(name, stream).await.map_err(|e| transport(tls_words(&e)))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(transport)?;
    let request = Request::post(target)
        .header(HOST, &address.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, */*")
        .header(USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(Bytes::from(body)))
        .map_err(transport)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(transport)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(transport)?;
        read(status.as_u16(), &body.to_bytes())
    };
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(transport(error)),
    }
}

async fn connect(
    around: Surroundings<'_>,
    endpoint: &Endpoint,
    address: &Address,
) -> Result<Box<dyn Stream>, Failure> {
    match (endpoint, around.resolver) {
        (Endpoint::Service { namespace, name, port, .. }, Some(resolver)) => {
            resolver.connect(namespace, name, *port).await.map_err(transport)
        }
        (Endpoint::Service { namespace, name, port, .. }, None) => {
            let stream = resolve::connect(around.store, namespace, name, *port).await.map_err(transport)?;
            Ok(Box::new(stream))
        }
        (Endpoint::Url(_), _) => {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
            let words = |e: std::io::Error| {
                let place = format!("{}:{}", address.host, address.port);
                transport(format!("dial tcp {place}: connect: {}", resolve::reason(&e)))
            };
            Ok(Box::new(stream.map_err(words)?))
        }
    }
}

/// Trust in what the configuration's bundle says, and in nothing else.
fn tls(bundle: &[u8]) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate =
            certificate.map_err(|e| transport(format!("unable to load root certificates: {e}")))?;
        roots.add(certificate).map_err(|e| transport(format!("unable to load root certificates: {e}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(transport)?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn tls_words(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(why)) = inner else { return error.to_string() };
    let why = match why {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid".into()
        }
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

fn read(code: u16, body: &[u8]) -> Result<Value, Failure> {
    if (200..300).contains(&code) {
        return serde_json::from_slice(body)
            .map_err(|e| Failure::Answer(format!("couldn't get version/kind; json parse error: {e}")));
    }
    let said = String::from_utf8_lossy(body);
    let said = said.trim().chars().take(2048).collect::<String>();
    Err(Failure::Answer(match code {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        500.. => format!("an error on the server ({said:?}) has prevented the request from succeeding"),
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }))
}
