//! Certificates, keys and the token of one control plane, made anew each time.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

/// The bearer token of the administrator. The server listens on loopback, for as long as a test runs.
pub(crate) const TOKEN: &str = "polynic-test-administrator";

/// Writes `tls.crt`, `tls.key`, `service-accounts.{key,pub}` and `tokens.csv` into `directory`; answers the CA's certificate.
pub(crate) fn write(directory: &Path, address: Ipv4Addr) -> Result<String, io::Error> {
    let (ca_pem, certificate, key) = certificates(address).map_err(io::Error::other)?;
    let accounts = KeyPair::generate().map_err(io::Error::other)?;
    fs::write(directory.join("tls.crt"), certificate)?;
    fs::write(directory.join("tls.key"), key)?;
    fs::write(directory.join("service-accounts.key"), accounts.serialize_pem())?;
    fs::write(directory.join("service-accounts.pub"), accounts.public_key_pem())?;
    fs::write(directory.join("tokens.csv"), format!("{TOKEN},admin,admin,\"system:masters\"\n"))?;
    Ok(ca_pem)
}

/// Where pods look for the API server: the first address of the services' range.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

fn certificates(address: Ipv4Addr) -> Result<(String, String, String), rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "polynic-test-ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca_pem = ca.clone().self_signed(&ca_key)?.pem();
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(["localhost".to_owned(), "kubernetes.default.svc".to_owned()])?;
    let addresses = [Ipv4Addr::LOCALHOST, SERVICE, address].map(|address| SanType::IpAddress(address.into()));
    server.subject_alt_names.extend(addresses);
    let certificate = server.signed_by(&key, &Issuer::new(ca, &ca_key))?.pem();
    Ok((ca_pem, certificate, key.serialize_pem()))
}
