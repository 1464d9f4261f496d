//! Certificates, keys and the token of one control plane, made anew each time; and certificates of clients, which the server accepts as well.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// The bearer token of the administrator. The server listens on loopback, for as long as a test runs.
pub(crate) const TOKEN: &str = "polynic-test-administrator";

/// Writes `ca.crt`, `ca.key`, `tls.crt`, `tls.key`, `service-accounts.{key,pub}` and `tokens.csv` into `directory`; answers the CA's certificate.
pub(crate) fn write(directory: &Path, address: Ipv4Addr) -> Result<String, io::Error> {
    let ca_key = KeyPair::generate().map_err(io::Error::other)?;
    let (ca_pem, certificate, key) = certificates(&ca_key, address).map_err(io::Error::other)?;
    fs::write(directory.join("ca.crt"), &ca_pem)?;
    fs::write(directory.join("ca.key"), ca_key.serialize_pem())?;
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

fn authority() -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, "polynic-test-ca");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    ca
}

fn certificates(ca_key: &KeyPair, address: Ipv4Addr) -> Result<(String, String, String), rcgen::Error> {
    let ca_pem = authority().self_signed(ca_key)?.pem();
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(["localhost".to_owned(), "kubernetes.default.svc".to_owned()])?;
    let addresses = [Ipv4Addr::LOCALHOST, SERVICE, address].map(|address| SanType::IpAddress(address.into()));
    server.subject_alt_names.extend(addresses);
    let certificate = server.signed_by(&key, &Issuer::new(authority(), ca_key))?.pem();
    Ok((ca_pem, certificate, key.serialize_pem()))
}

/// Of a client by whom requests are made.
#[derive(Debug, Clone, Copy)]
pub struct ClientCertificate<'a> {
    /// The user.
    pub user: &'a str,
    /// The user's group.
    pub group: &'a str,
    /// The first year in which it is good.
    pub from: i32,
    /// The year at whose beginning it ends.
    pub until: i32,
}

impl ClientCertificate<'_> {
    /// Certificate and key, PEM, by the authority of the directory.
    pub(crate) fn sign(&self, directory: &Path) -> io::Result<(String, String)> {
        let ca_key = fs::read_to_string(directory.join("ca.key"))?;
        let signed = || {
            let (ca_key, key) = (KeyPair::from_pem(&ca_key)?, KeyPair::generate()?);
            let mut client = CertificateParams::default();
            client.distinguished_name = DistinguishedName::new();
            client.distinguished_name.push(DnType::CommonName, self.user);
            client.distinguished_name.push(DnType::OrganizationName, self.group);
            client.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            client.not_before = date_time_ymd(self.from, 1, 1);
            client.not_after = date_time_ymd(self.until, 1, 1);
            let certificate = client.signed_by(&key, &Issuer::new(authority(), ca_key))?.pem();
            Ok::<_, rcgen::Error>((certificate, key.serialize_pem()))
        };
        signed().map_err(io::Error::other)
    }
}
