//! WireGuard tunnels: keys, peers, and what a link of this kind is set to.

use std::fmt;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::IfName;

/// A public key; its text is base64, as the tool `wg` has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireguardKey(pub [u8; 32]);

/// A private or pre-shared key. It is never shown; its text, base64, is asked for by name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireguardSecret([u8; 32]);

/// A text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a WireGuard key is 32 bytes in base64 (44 characters)")]
pub struct WireguardKeyError;

fn read(text: &str) -> Result<[u8; 32], WireguardKeyError> {
    let bytes = STANDARD.decode(text).map_err(|_| WireguardKeyError)?;
    bytes.try_into().map_err(|_| WireguardKeyError)
}

impl std::str::FromStr for WireguardKey {
    type Err = WireguardKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).map(Self)
    }
}

impl fmt::Display for WireguardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for WireguardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl WireguardSecret {
    /// A private key of random bytes, in the form in which the kernel keeps it (RFC 7748 section 5, `decodeScalar25519`).
    pub fn private(mut random: [u8; 32]) -> Self {
        random[0] &= 0b1111_1000;
        random[31] = random[31] & 0b0111_1111 | 0b0100_0000;
        Self(random)
    }

    /// A pre-shared key; none if there is no bit in it, which is how the kernel says that there is none.
    pub fn shared(bytes: [u8; 32]) -> Option<Self> {
        (bytes != [0; 32]).then_some(Self(bytes))
    }

    /// The bytes, for the kernel.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text, for a file that nobody else reads.
    pub fn text(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl std::str::FromStr for WireguardSecret {
    type Err = WireguardKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).map(Self)
    }
}

impl fmt::Debug for WireguardSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl TryFrom<String> for WireguardKey {
    type Error = WireguardKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WireguardKey> for String {
    fn from(key: WireguardKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for WireguardSecret {
    type Error = WireguardKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WireguardSecret> for String {
    fn from(secret: WireguardSecret) -> Self {
        secret.text()
    }
}

/// What a WireGuard link is set to: one part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wireguard {
    /// The link.
    pub link: IfName,
    /// The part.
    pub part: WireguardPart,
}

/// A part of a WireGuard link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireguardPart {
    /// What every link of this kind has one of.
    Own(WireguardOwn),
    /// A peer; its identity is its key.
    Peer(WireguardPeer),
}

/// Who the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireguardOwn {
    /// Its private key; absent: it cannot talk.
    pub secret: Option<WireguardSecret>,
    /// The UDP port that it listens on; 0: the kernel's choice.
    pub port: u16,
}

/// A peer of a WireGuard link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireguardPeer {
    /// Who it is.
    pub key: WireguardKey,
    /// A further secret that both have.
    pub shared: Option<WireguardSecret>,
    /// Where its packets go; it changes by itself when the peer speaks from elsewhere.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between two empty packets that keep ways through address translation open; 0: none.
    pub keepalive: u16,
    /// The addresses that are reached through it, and that it may speak as: sorted.
    pub allowed: Vec<IpNet>,
}

/// A WireGuard link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardFact {
    /// The link.
    pub link: IfName,
    /// What it is set to.
    pub own: WireguardOwn,
    /// Its public key, which the kernel works out; absent without a private one.
    pub key: Option<WireguardKey>,
    /// Its peers.
    pub peers: Vec<WireguardPeer>,
}

impl Wireguard {
    /// A peer of a link.
    pub fn peer(link: &IfName, peer: WireguardPeer) -> Self {
        Self { link: link.clone(), part: WireguardPart::Peer(peer) }
    }

    /// Who a link is.
    pub fn own(link: &IfName, own: WireguardOwn) -> Self {
        Self { link: link.clone(), part: WireguardPart::Own(own) }
    }
}

impl WireguardFact {
    /// Whether the link is set as `wanted` says.
    pub fn has(&self, wanted: &WireguardPart) -> bool {
        match wanted {
            WireguardPart::Own(own) => self.own == *own,
            WireguardPart::Peer(peer) => self.peers.contains(peer),
        }
    }
}

/// Without secrets.
impl fmt::Display for Wireguard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            WireguardPart::Own(own) => write!(f, "key and port {} on {}", own.port, self.link),
            WireguardPart::Peer(peer) => {
                write!(f, "peer {} of {}", peer.key, self.link)?;
                peer.endpoint.map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key pair of RFC 7748 section 6.1, Alice's.
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    #[test]
    fn keys_are_read_and_written_as_base64_and_secrets_are_not_shown() {
        let key: WireguardKey = PUBLIC.parse().unwrap();
        assert_eq!((key.to_string(), key.0[0]), (PUBLIC.to_owned(), 0x85));
        for bad in ["", "hSDw", &PUBLIC[1..], "not base64 at all, but as long as one is....."] {
            assert_eq!(bad.parse::<WireguardKey>(), Err(WireguardKeyError), "{bad:?}");
        }
        let secret = WireguardSecret::private([0xff; 32]);
        assert_eq!(secret.text().parse::<WireguardSecret>(), Ok(secret));
        let own = WireguardOwn { secret: Some(secret), port: 51820 };
        let own = Wireguard::own(&IfName::new("flannel-wg").unwrap(), own);
        assert!(!format!("{own:?} {own}").contains(&secret.text()));
        let json = serde_json::to_string(&own).unwrap();
        assert_eq!(serde_json::from_str::<Wireguard>(&json).unwrap(), own);
    }

    #[test]
    fn a_private_key_has_the_bits_that_every_private_key_has() {
        let bytes = |random| *WireguardSecret::private([random; 32]).bytes();
        assert_eq!((bytes(0xff)[0], bytes(0xff)[31], bytes(0xff)[1]), (0xf8, 0x7f, 0xff));
        assert_eq!((bytes(0)[0], bytes(0)[31]), (0, 0x40));
        assert_eq!(WireguardSecret::shared([0; 32]), None);
    }
}
