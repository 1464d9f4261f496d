//! A server in a temporary directory, and a client that speaks HTTP/1.1 over TLS and JSON to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use polynic_apiserver::{Config, Running, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server that ends with the test.
pub struct TestServer {
    pub running: Running,
    pub dir: tempfile::TempDir,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Started as `adjust` says.
    pub async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        adjust(&mut config);
        let running = Server::start(config).await.unwrap();
        Self { running, dir }
    }

    pub async fn restart(self) -> Self {
        self.running.shutdown().await;
        let running = Server::start(Config::new(self.dir.path())).await.unwrap();
        Self { running, dir: self.dir }
    }

    /// An encrypted connection on which nothing was said yet.
    pub async fn tls(&self) -> TlsStream<TcpStream> {
        encrypted(self.running.addr(), self.running.ca_pem()).await.unwrap()
    }

    pub async fn client(&self) -> Client {
        let credentials =
            Credentials { ca: self.running.ca_pem().into(), token: self.running.token().into() };
        Client::connect(self.running.addr(), &credentials).await.unwrap()
    }
}

/// What a client needs besides the address.
pub struct Credentials {
    pub ca: String,
    pub token: String,
}

impl Credentials {
    /// From a data directory.
    pub fn read(dir: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        Self { ca: read("ca.crt"), token: read("token") }
    }
}

/// One connection.
pub struct Client {
    connection: SendRequest<Full<Bytes>>,
    pub token: String,
}

/// A finished answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    /// The body of an answer that must have `code`.
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    /// The reason of an answer that must be an error with `code`.
    pub fn reason(self, code: u16) -> String {
        let body = self.expect(code);
        if code == 404 && body == "404 page not found\n" {
            return "NotFound".into();
        }
        assert_eq!((&body["kind"], &body["code"]), (&json!("Status"), &json!(code)), "{body}");
        body["reason"].as_str().unwrap().to_owned()
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn encrypted(addr: SocketAddr, ca: &str) -> Result<TlsStream<TcpStream>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = TlsConnector::from(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()));
    Ok(tls.connect(ServerName::from(addr.ip()), TcpStream::connect(addr).await?).await?)
}

impl Client {
    pub async fn connect(addr: SocketAddr, credentials: &Credentials) -> Result<Self, Failure> {
        let stream = encrypted(addr, &credentials.ca).await?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self { connection, token: credentials.token.clone() })
    }

    /// Sends a request with headers of the test's choice.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.connection.ready().await?;
        Ok(self.connection.send_request(request.body(Full::new(body.into()))?).await?)
    }

    pub async fn try_call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Failure> {
        let response = self.send(method, path, headers, body).await?;
        let code = response.status().as_u16();
        let text = response.into_body().collect().await?.to_bytes();
        let body = serde_json::from_slice(&text).unwrap_or_else(|_| json!(String::from_utf8_lossy(&text)));
        Ok(Answer { code, body })
    }

    pub async fn call(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.try_call(method, path, &[("content-type", "application/json")], text).await.unwrap()
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, &Value::Null).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &body).await
    }

    pub async fn put(&mut self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, body).await
    }

    pub async fn delete(&mut self, path: &str) -> Answer {
        self.call("DELETE", path, &Value::Null).await
    }

    /// Patches with the type `merge`, `json` or `strategic-merge`.
    pub async fn patch(&mut self, kind: &str, path: &str, body: Value) -> Answer {
        let media_type = format!("application/{kind}-patch+json");
        self.try_call("PATCH", path, &[("content-type", &media_type)], body.to_string()).await.unwrap()
    }

    /// Begins a watch; the connection is used up by it.
    pub async fn watch(mut self, path: &str) -> Events {
        let response = self.send("GET", path, &[], "").await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Events::of(response.into_body(), self)
    }
}

/// The events of a watch.
pub struct Events {
    body: Incoming,
    buffer: Vec<u8>,
    _client: Client,
}

impl Events {
    /// Of an answer that has begun.
    pub fn of(body: Incoming, client: Client) -> Self {
        Self { body, buffer: Vec::new(), _client: client }
    }

    /// The next event, which must come within ten seconds; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame())
                .await
                .expect("no event came");
            self.buffer.extend_from_slice(&frame?.ok()?.into_data().ok()?);
        }
    }

    /// Type and name of the next event.
    pub async fn brief(&mut self) -> (String, String) {
        let event = self.next().await.expect("the stream ended");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

pub const PODS: &str = "/api/v1/namespaces/default/pods";

pub fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
           "spec": {"containers": [{"name": "c", "image": "alpine"}]}})
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}
