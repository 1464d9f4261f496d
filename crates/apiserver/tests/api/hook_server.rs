//! An admission webhook for tests: HTTPS with a CA of its own on a free port of 127.0.0.1.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Answering = Arc<dyn Fn(Value) -> Pin<Box<dyn Future<Output = Value> + Send>> + Send + Sync>;

/// A running webhook; it ends with the test's runtime.
pub struct HookServer {
    addr: SocketAddr,
    ca_pem: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl HookServer {
    /// Answers each AdmissionRequest by `answer`, which returns the response without its uid. `hook` of the request is the
    /// last segment of the path that was asked.
    pub async fn start(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::start_async(move |request| {
            let answer = answer(&request);
            async move { answer }
        })
        .await
    }

    /// The same for answers that take something else to come.
    pub async fn start_async<F>(answer: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Value> + Send + 'static,
    {
        let (tls, ca_pem) = identity();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answering: Answering = Arc::new(move |request| Box::pin(answer(request)));
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        tokio::spawn(accept(listener, acceptor, answering, seen.clone()));
        Self { addr, ca_pem, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    pub fn ca_bundle(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.ca_pem)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

fn identity() -> (ServerConfig, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "hook.default.svc".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &Issuer::new(ca, &ca_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (config, ca_pem)
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, answer: Answering, seen: Arc<Mutex<Vec<Value>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answer, seen) = (tls.clone(), answer.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| review(request, answer.clone(), seen.clone()));
            // Clients that hang up early are their own business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn review(
    request: Request<Incoming>,
    answer: Answering,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let hook = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut asked = review["request"].clone();
    asked["hook"] = json!(hook);
    seen.lock().unwrap().push(asked.clone());
    let mut response = answer(asked).await;
    response["uid"] = review["request"]["uid"].clone();
    let told = json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response});
    Ok(Response::new(Full::new(told.to_string().into())))
}
