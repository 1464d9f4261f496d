//! One question over HTTPS, without a client library: is the server ready?

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks a server whose certificate comes from one authority.
pub(crate) struct Probe {
    tls: Arc<ClientConfig>,
}

impl Probe {
    /// Trusts the authority with this certificate, and nobody else.
    pub(crate) fn new(ca_pem: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| e.to_string())?;
        roots.add(ca).map_err(|e| e.to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: Arc::new(tls) })
    }

    /// True if `/readyz` answers 200.
    pub(crate) fn is_ready(&self, addr: SocketAddr, token: &str) -> bool {
        self.ask(addr, token).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
    }

    fn ask(&self, addr: SocketAddr, token: &str) -> Option<[u8; 12]> {
        let stream = TcpStream::connect(addr).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        let session = ClientConnection::new(Arc::clone(&self.tls), ServerName::from(addr.ip())).ok()?;
        let mut stream = StreamOwned::new(session, stream);
        let request = format!(
            "GET /readyz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    }
}
