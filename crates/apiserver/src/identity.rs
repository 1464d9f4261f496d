//! Who the server is and who may ask: its own CA, a server certificate made anew at every start, one bearer token, and
//! the kubeconfig that holds what a client needs. CA and token persist, so a kubeconfig stays good over restarts.

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::access::{Signer, TokenError};
use crate::entropy;

/// What can go wrong with the files and certificates of the server.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file or the data directory cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key or certificate cannot be made or understood.
    #[error("cannot make the server's certificate")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not accept what was made.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The key of service account tokens cannot be used.
    #[error("cannot sign tokens of service accounts")]
    Account(#[from] TokenError),
    /// The kernel gives no randomness.
    #[error("cannot get randomness")]
    Entropy(#[source] io::Error),
}

/// CA, token, and the key of service account tokens of one data directory.
pub(crate) struct Identity {
    ca_key: KeyPair,
    account_key: KeyPair,
    pub(crate) ca_pem: String,
    pub(crate) token: String,
}

impl Identity {
    /// Loads the identity in `dir`, making what is not there.
    pub(crate) fn load(dir: &Path) -> Result<Self, IdentityError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| IdentityError::File { path: dir.into(), source })?;
        let (ca_key, ca_pem) = load_ca(dir)?;
        let token = match read(&dir.join("token"))? {
            Some(token) => token.trim().to_owned(),
            None => new_token(&dir.join("token"))?,
        };
        let account_key = load_account_key(dir)?;
        // Names outlive a power cut from here on; once for all of them, because it costs as much as a write.
        sync(dir).map_err(|source| IdentityError::File { path: dir.into(), source })?;
        Ok(Self { ca_key, account_key, ca_pem, token })
    }

    /// What signs the tokens of service accounts.
    pub(crate) fn signer(&self) -> Result<Signer, IdentityError> {
        Ok(Signer::new(&self.account_key.serialize_der())?)
    }

    /// TLS with a fresh certificate for `addr`, the loopback addresses, the cluster's own names and `names`.
    pub(crate) fn tls(&self, addr: SocketAddr, names: &[String]) -> Result<ServerConfig, IdentityError> {
        let mut all: Vec<String> =
            ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
                .map(str::to_owned)
                .to_vec();
        all.extend(
            [addr.ip(), Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
                .map(|ip: IpAddr| ip.to_string()),
        );
        all.extend_from_slice(names);
        all.sort();
        all.dedup();
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(all)?;
        params.distinguished_name.push(DnType::CommonName, "polynic-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &Issuer::new(ca_params(), &self.ca_key))?;
        server_config(certificate.der().clone(), &key)
    }

    /// The text of a kubeconfig for a server at `addr`, whose context is called `name`.
    pub(crate) fn kubeconfig(&self, addr: SocketAddr, name: &str) -> String {
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca_pem);
        let (server, token) = (url(addr), &self.token);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {ca}\nusers:\n- name: {name}\n  user:\n    token: {token}\ncontexts:\n- name: {name}\n  \
             context:\n    cluster: {name}\n    user: {name}\ncurrent-context: {name}\n"
        )
    }
}

fn server_config(certificate: CertificateDer<'static>, key: &KeyPair) -> Result<ServerConfig, IdentityError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Where clients on this machine reach a server bound to `addr`.
fn url(addr: SocketAddr) -> String {
    let ip = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("https://{}", SocketAddr::new(ip, addr.port()))
}

/// The same at every start: with the key, they are all that signing needs, so the certificate need not be parsed.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "polynic-apiserver-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// The certificate is written after its key: where there is one, there is the other.
fn load_ca(dir: &Path) -> Result<(KeyPair, String), IdentityError> {
    let (key_path, pem_path) = (dir.join("ca.key"), dir.join("ca.crt"));
    if let (Some(key), Some(pem)) = (read(&key_path)?, read(&pem_path)?) {
        return Ok((KeyPair::from_pem(&key)?, pem));
    }
    let key = KeyPair::generate()?;
    let pem = ca_params().self_signed(&key)?.pem();
    write_private(&key_path, &key.serialize_pem())?;
    write_private(&pem_path, &pem)?;
    Ok((key, pem))
}

fn load_account_key(dir: &Path) -> Result<KeyPair, IdentityError> {
    let path = dir.join("sa.key");
    if let Some(key) = read(&path)? {
        return Ok(KeyPair::from_pem(&key)?);
    }
    let key = KeyPair::generate()?;
    write_private(&path, &key.serialize_pem())?;
    Ok(key)
}

fn new_token(path: &Path) -> Result<String, IdentityError> {
    let token = entropy::hex(&entropy::bytes::<32>().map_err(IdentityError::Entropy)?);
    write_private(path, &token)?;
    Ok(token)
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { path: path.into(), source }),
    }
}

/// Writes a file that only its owner can read, whole or not at all; its content outlives a power cut if its name does.
fn write_private(path: &Path, text: &str) -> Result<(), IdentityError> {
    let write = || {
        let (file, temporary) = create_private(path, text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| IdentityError::File { path: path.into(), source })
}

/// The same for what is written anew at every start.
pub(crate) fn write_passing(path: &Path, text: &str) -> Result<(), IdentityError> {
    let write = || create_private(path, text).and_then(|(_, temporary)| fs::rename(&temporary, path));
    write().map_err(|source| IdentityError::File { path: path.into(), source })
}

/// A file beside `path`, to be renamed.
fn create_private(path: &Path, text: &str) -> io::Result<(fs::File, PathBuf)> {
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    Ok((file, temporary))
}

fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn ca_and_token_persist_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load(dir.path()).unwrap();
        let second = Identity::load(dir.path()).unwrap();
        assert_eq!((&first.ca_pem, &first.token), (&second.ca_pem, &second.token));
        for file in ["ca.key", "ca.crt", "token", "sa.key"] {
            let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_wildcard_address_is_reached_on_loopback() {
        assert_eq!(url("0.0.0.0:5".parse().unwrap()), "https://127.0.0.1:5");
        assert_eq!(url("[::]:5".parse().unwrap()), "https://[::1]:5");
    }

    #[test]
    fn certificates_are_made_for_any_address_and_name() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::load(dir.path()).unwrap();
        assert!(identity.tls("10.1.2.3:6443".parse().unwrap(), &["node.example".into()]).is_ok());
        assert!(identity.tls("[fd00::1]:1".parse().unwrap(), &[]).is_ok());
    }
}
