//! The network configuration `net-conf.json` (spec/flannel.md 3, 7, 8).

use polynic_cni::GoMap;
use polynic_cni::json::{self, JsonError, JsonMap};
use polynic_net::{Family, IpNet, WireguardKeyError};

use crate::{PerFamily, WireguardConf};

mod wireguard;

/// The network configuration, as far as a subnet manager of Kubernetes needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConf {
    /// The whole network, per family that is on.
    pub networks: PerFamily<IpNet>,
    /// How packets get to other nodes.
    pub backend: Backend,
    /// `EnableNFTables`: nobody wants iptables' chains. Our rules are nf_tables' either way.
    pub without_iptables: bool,
    /// What is worth a warning.
    pub warnings: Vec<String>,
}

/// How packets get to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In UDP packets, or directly where peers are neighbours and the configuration says so.
    Vxlan(VxlanConf),
    /// By routes through the peers themselves, which must be neighbours.
    HostGw,
    /// IPv4 packets in IPv4 packets, or directly where peers are neighbours and the configuration says so.
    Ipip {
        /// Packets to neighbours go without tunnel.
        direct_routing: bool,
    },
    /// Encrypted in UDP packets.
    Wireguard(WireguardConf),
}

impl Backend {
    /// Its name in annotations.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vxlan(_) => "vxlan",
            Self::HostGw => "host-gw",
            Self::Ipip { .. } => "ipip",
            Self::Wireguard(_) => "wireguard",
        }
    }

    /// Whether packets to neighbours go without tunnel.
    pub fn direct_routing(&self) -> bool {
        match self {
            Self::Vxlan(conf) => conf.direct_routing,
            Self::Ipip { direct_routing } => *direct_routing,
            Self::HostGw | Self::Wireguard(_) => false,
        }
    }
}

/// Options of the VXLAN backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanConf {
    /// Network identifier.
    pub vni: u32,
    /// UDP port; 0 = the kernel's default, 8472.
    pub port: u16,
    /// MTU of the carrying network in bytes, before the tunnel's overhead; absent: that of the external interface.
    pub mtu: Option<u32>,
    /// Packets carry a group policy id.
    pub gbp: bool,
    /// Forwarding entries are learnt from traffic.
    pub learning: bool,
    /// Packets to neighbours go without tunnel.
    pub direct_routing: bool,
}

impl Default for VxlanConf {
    fn default() -> Self {
        Self { vni: 1, port: 0, mtu: None, gbp: false, learning: false, direct_routing: false }
    }
}

/// Why a network configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetConfError {
    /// It is no JSON object, or a key has a wrong type.
    #[error("net-conf.json cannot be read: {0}")]
    Json(JsonError),
    /// Both families are off.
    #[error("net-conf.json: EnableIPv4 and EnableIPv6 are both off, one must be on")]
    NoFamily,
    /// A family is on and its network is missing.
    #[error("net-conf.json: {0} is missing, but {1} is on")]
    NoNetwork(&'static str, Family),
    /// A network is none, or of the other family.
    #[error("net-conf.json: {key} is {text:?}, which is no {family} network")]
    BadNetwork {
        /// The key.
        key: &'static str,
        /// Its value.
        text: String,
        /// What it should be.
        family: Family,
    },
    /// A number is out of range.
    #[error("net-conf.json: {key} is {value}, it must be from {least} to {most}")]
    OutOfRange {
        /// The key, with its object.
        key: &'static str,
        /// Its value.
        value: i64,
        /// The smallest value.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// Flannel has this backend, polynic has not.
    #[error(
        "net-conf.json: polynic does not offer the backend {0:?} (it has vxlan, host-gw, ipip and wireguard)"
    )]
    NotOffered(String),
    /// The backend carries IPv4 alone.
    #[error("net-conf.json: the backend ipip carries IPv4 only, and EnableIPv6 is on")]
    Ipv4Only,
    /// A key's value is none of those that there are.
    #[error("net-conf.json: {key} is {text:?}, it must be {allowed}")]
    Choice {
        /// The key, with its object.
        key: &'static str,
        /// Its value.
        text: String,
        /// What it can be.
        allowed: &'static str,
    },
    /// A secret is none. It is not shown.
    #[error("net-conf.json: {0} is no key: {1} (`wg genpsk` makes one)")]
    Secret(&'static str, WireguardKeyError),
    /// Two tunnels cannot listen on one port.
    #[error(
        "net-conf.json: Backend.ListenPort and Backend.ListenPortV6 are both {0}, and each tunnel needs its own"
    )]
    OnePort(u16),
    /// The tunnel is to be carried by a family that is off.
    #[error("net-conf.json: Backend.Mode is {0:?}, but {1} is off")]
    ModeOff(&'static str, Family),
    /// Nobody has this backend.
    #[error("net-conf.json: unknown backend type {0:?}")]
    Unknown(String),
}

impl From<JsonError> for NetConfError {
    fn from(why: JsonError) -> Self {
        Self::Json(why)
    }
}

/// Backends of flannel that polynic does not have.
const OTHERS: [&str; 6] = ["udp", "alloc", "extension", "ipsec", "tencent-vpc", "aws-vpc"];

impl NetConf {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// See [`NetConfError`]; nothing is guessed.
    pub fn parse(text: &[u8]) -> Result<Self, NetConfError> {
        let map = json::parse_object(text)?;
        let keys = GoMap(&map);
        let mut warnings = Vec::new();
        let networks = networks(keys)?;
        let backend = match keys.object("Backend")? {
            Some(backend) => read_backend(backend, &networks)?,
            None => {
                warnings
                    .push("net-conf.json has no Backend: vxlan is used (flannel would use udp)".to_owned());
                Backend::Vxlan(VxlanConf::default())
            }
        };
        let without_iptables = keys.bool("EnableNFTables")?.unwrap_or(false);
        Ok(Self { networks, backend, without_iptables, warnings })
    }
}

fn networks(keys: GoMap<'_>) -> Result<PerFamily<IpNet>, NetConfError> {
    let on = [
        (Family::V4, "Network", keys.bool("EnableIPv4")?.unwrap_or(true)),
        (Family::V6, "IPv6Network", keys.bool("EnableIPv6")?.unwrap_or(false)),
    ];
    let mut networks = PerFamily::default();
    for (family, key, _) in on.into_iter().filter(|(_, _, on)| *on) {
        networks.set(family, Some(network(keys, family, key)?));
    }
    if networks.is_empty() { Err(NetConfError::NoFamily) } else { Ok(networks) }
}

fn network(keys: GoMap<'_>, family: Family, key: &'static str) -> Result<IpNet, NetConfError> {
    let text = keys.string(key)?;
    if text.is_empty() {
        return Err(NetConfError::NoNetwork(key, family));
    }
    let net = text.parse::<IpNet>().ok().filter(|net| Family::of(net.addr()) == family);
    let bad = || NetConfError::BadNetwork { key, text: text.to_owned(), family };
    net.map(|net| net.trunc()).ok_or_else(bad)
}

fn read_backend(backend: &JsonMap, networks: &PerFamily<IpNet>) -> Result<Backend, NetConfError> {
    let keys = GoMap(backend);
    match keys.string("Type")?.to_lowercase().as_str() {
        "vxlan" => Ok(Backend::Vxlan(vxlan(keys, networks.v6.is_some())?)),
        "host-gw" => Ok(Backend::HostGw),
        "wireguard" => Ok(Backend::Wireguard(wireguard::read(keys, networks)?)),
        "ipip" if networks.v6.is_some() => Err(NetConfError::Ipv4Only),
        "ipip" => Ok(Backend::Ipip { direct_routing: keys.bool("DirectRouting")?.unwrap_or(false) }),
        other if OTHERS.contains(&other) => Err(NetConfError::NotOffered(other.to_owned())),
        other => Err(NetConfError::Unknown(other.to_owned())),
    }
}

/// The VNI becomes part of a link's name, which has at most 15 bytes: `flannel.9999999`, `flannel-v6.9999`.
fn vxlan(keys: GoMap<'_>, ipv6: bool) -> Result<VxlanConf, NetConfError> {
    let number = |key, name, least, most| number(keys, (key, name), least, most);
    let default = VxlanConf::default();
    let flag = |name| Ok::<_, NetConfError>(keys.bool(name)?.unwrap_or(false));
    // The ranges make every number fit.
    let vni = number("Backend.VNI", "VNI", 0, if ipv6 { 9_999 } else { 9_999_999 })?
        .map_or(default.vni, |n| n as u32);
    let port = number("Backend.Port", "Port", 0, 65535)?.map_or(default.port, |n| n as u16);
    let mtu = number("Backend.MTU", "MTU", 0, 65535)?.filter(|n| *n != 0).map(|n| n as u32);
    Ok(VxlanConf {
        vni,
        port,
        mtu,
        gbp: flag("GBP")?,
        learning: flag("Learning")?,
        direct_routing: flag("DirectRouting")?,
    })
}

/// A number between two others: `name` is the key in its object, `key` with the object.
fn number(
    keys: GoMap<'_>,
    (key, name): (&'static str, &str),
    least: i64,
    most: i64,
) -> Result<Option<i64>, NetConfError> {
    match keys.int(name)? {
        Some(value) if value < least || value > most => {
            Err(NetConfError::OutOfRange { key, value, least, most })
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NetConf, String> {
        NetConf::parse(text.as_bytes()).map_err(|why| why.to_string())
    }

    #[test]
    fn keys_match_in_any_case_and_defaults_are_those_of_the_guides() {
        let conf = parse(r#"{"network": "10.233.0.0/16", "BACKEND": {"type": "VXLAN"}}"#).unwrap();
        assert_eq!(conf.networks.v4, Some("10.233.0.0/16".parse().unwrap()));
        assert_eq!((conf.networks.v6, conf.backend), (None, Backend::Vxlan(VxlanConf::default())));
        assert!(conf.warnings.is_empty());
    }

    #[test]
    fn both_families_and_all_options_are_read() {
        let conf = parse(
            r#"{"Network": "10.60.0.0/16", "IPv6Network": "fd60::/48", "EnableIPv6": true,
                "Backend": {"Type": "vxlan", "VNI": 7, "Port": 4789, "MTU": 1400, "DirectRouting": true, "Learning": true, "GBP": true}}"#,
        );
        let conf = conf.unwrap();
        assert_eq!(conf.networks.v6, Some("fd60::/48".parse().unwrap()));
        let expected = VxlanConf {
            vni: 7,
            port: 4789,
            mtu: Some(1400),
            gbp: true,
            learning: true,
            direct_routing: true,
        };
        assert_eq!(conf.backend, Backend::Vxlan(expected));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            ("{", "cannot be read"),
            (r#"{"EnableIPv4": false}"#, "one must be on"),
            ("{}", "Network is missing"),
            (r#"{"Network": "10.0.0.0/8", "EnableIPv6": true}"#, "IPv6Network is missing"),
            (r#"{"Network": "fd00::/8"}"#, "which is no IPv4 network"),
            (
                r#"{"Network": "10.0.0.0/8", "Backend": {"Type": "udp"}}"#,
                "does not offer the backend \"udp\"",
            ),
            (
                r#"{"Network": "10.0.0.0/8", "Backend": {"Type": "pigeon"}}"#,
                "unknown backend type \"pigeon\"",
            ),
            (
                r#"{"Network": "10.0.0.0/8", "IPv6Network": "fd60::/48", "EnableIPv6": true, "Backend": {"Type": "ipip"}}"#,
                "IPv4 only",
            ),
            (r#"{"Network": "10.0.0.0/8", "Backend": {}}"#, "unknown backend type"),
            (r#"{"Network": "10.0.0.0/8", "Backend": {"Type": "vxlan", "VNI": 16777216}}"#, "Backend.VNI"),
            (r#"{"Network": "10.0.0.0/8", "Backend": {"Type": "vxlan", "Port": "x"}}"#, "Port"),
        ];
        for (text, words) in cases {
            let why = parse(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    #[test]
    fn a_missing_backend_is_vxlan_with_a_warning() {
        let conf = parse(r#"{"Network": "10.0.0.0/8"}"#).unwrap();
        assert_eq!((conf.backend.name(), conf.warnings.len()), ("vxlan", 1));
    }
}
