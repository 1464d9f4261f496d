//! How a webhook that is a Service is reached. In a cluster that is the network's business; here the embedding program may
//! bring its own way ([`ServiceResolver`]), and without one the addresses that the API itself knows are tried.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::json::{integer, items, text};
use crate::store::{Range, Store, StoreError};

/// A connection to somebody who serves a Service.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The outcome of [`ServiceResolver::connect`].
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, ResolveError>> + Send + 'a>>;

/// Reaches Services for the server, which runs outside of the cluster's network.
pub trait ServiceResolver: fmt::Debug + Send + Sync {
    /// Connects to `port` of the Service `name` in `namespace`.
    fn connect<'a>(&'a self, namespace: &'a str, name: &'a str, port: u16) -> Connecting<'a>;
}

/// Why a Service cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is no such Service.
    #[error("service {0:?} not found")]
    NotFound(String),
    /// It has no such port.
    #[error("no service port {port} found for service {name:?}")]
    NoPort {
        /// The Service.
        name: String,
        /// The port that was asked for.
        port: u16,
    },
    /// Nobody serves it.
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
    /// Nobody who serves it can be connected to.
    #[error("dial tcp {addr}: connect: {}", reason(source))]
    Connect {
        /// The last address that was tried.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The embedding program's resolver says why.
    #[error("{0}")]
    Other(String),
    /// The API's own store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The kernel's word for an error, as other clients print it.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::TimedOut => "connection timed out".into(),
        std::io::ErrorKind::HostUnreachable => "no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        _ => error.to_string(),
    }
}

/// Connects to the first address of the Service that answers: its endpoints, then its cluster IP.
pub(super) async fn connect(
    store: &Store,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<TcpStream, ResolveError> {
    let mut failed = ResolveError::NoEndpoints(name.into());
    for addr in addresses(store, namespace, name, port)? {
        match TcpStream::connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(source) => failed = ResolveError::Connect { addr, source },
        }
    }
    Err(failed)
}

fn addresses(store: &Store, namespace: &str, name: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let read = |key: &str| -> Result<Option<Value>, StoreError> {
        Ok(store.get(key)?.and_then(|stored| serde_json::from_slice(&stored.body).ok()))
    };
    let service = read(&format!("core/services/{namespace}/{name}"))?;
    let service = service.ok_or_else(|| ResolveError::NotFound(name.into()))?;
    let ports = items(&service, "spec.ports");
    let served = ports.iter().find(|p| integer(p, "port") == Some(port.into()));
    let served = served.ok_or_else(|| ResolveError::NoPort { name: name.into(), port })?;
    let mut found = Vec::new();
    for slice in store.list(Range::under(&format!("discovery.k8s.io/endpointslices/{namespace}/")))?.items {
        let Ok(slice) = serde_json::from_slice::<Value>(&slice.body) else { continue };
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] == name {
            found.extend(slice_addresses(&slice, text(served, "name")));
        }
    }
    if let Some(endpoints) = read(&format!("core/endpoints/{namespace}/{name}"))? {
        let subsets = items(&endpoints, "subsets").iter();
        found.extend(subsets.flat_map(|subset| subset_addresses(subset, text(served, "name"))));
    }
    found.extend(socket(text(&service, "spec.clusterIP"), port.into()));
    Ok(found)
}

fn slice_addresses(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let port = items(slice, "ports").iter().find(|p| text(p, "name") == port_name);
    let Some(port) = port.and_then(|p| integer(p, "port")) else { return Vec::new() };
    let ready = items(slice, "endpoints").iter().filter(|e| e["conditions"]["ready"] != false);
    let first = ready.filter_map(|e| items(e, "addresses").first().and_then(Value::as_str));
    first.filter_map(|ip| socket(ip, port)).collect()
}

fn subset_addresses(subset: &Value, port_name: &str) -> Vec<SocketAddr> {
    let port = items(subset, "ports").iter().find(|p| text(p, "name") == port_name);
    let Some(port) = port.and_then(|p| integer(p, "port")) else { return Vec::new() };
    items(subset, "addresses").iter().filter_map(|a| socket(text(a, "ip"), port)).collect()
}

fn socket(ip: &str, port: i64) -> Option<SocketAddr> {
    Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_those_that_are_ready_at_the_port_of_that_name() {
        let slice = json!({
            "ports": [{"name": "web", "port": 8443}, {"name": "other", "port": 1}],
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}],
        });
        assert_eq!(slice_addresses(&slice, "web"), ["10.0.0.1:8443".parse().unwrap()]);
        assert_eq!(slice_addresses(&slice, "none"), []);
        let subset = json!({"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 9}]});
        assert_eq!(subset_addresses(&subset, ""), ["[fd00::1]:9".parse().unwrap()]);
    }
}
