//! The configuration, and the mappings that the runtime asks for.

use std::fmt;
use std::net::IpAddr;

use polynic_cni::Error;
use polynic_net::{Family, FwExpr};
use serde::Deserialize;

use super::conditions;
use crate::Call;

/// What is to be mapped, and how.
#[derive(Debug)]
pub(super) struct Config {
    /// The mappings, in their order.
    pub(super) mappings: Vec<Mapping>,
    /// Rewrite the source where the pod could not answer otherwise.
    pub(super) snat: bool,
    /// Rewrite every source.
    pub(super) masq_all: bool,
    conditions_v4: Vec<FwExpr>,
    conditions_v6: Vec<FwExpr>,
}

/// One port of the node and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) transport: Transport,
    /// The node's address; absent: any.
    pub(super) host_ip: Option<IpAddr>,
    /// The only family it is for, if the node's address says so.
    family: Option<Family>,
    pub(super) host_port: u16,
    pub(super) container_port: u16,
}

/// Transports with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    /// Its IANA number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl Mapping {
    /// Whether it is for this family.
    pub(super) fn serves(&self, family: Family) -> bool {
        self.family.is_none_or(|only| only == family)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    backend: Option<String>,
    snat: Option<bool>,
    masq_all: bool,
    mark_masq_bit: Option<i64>,
    external_set_mark_chain: Option<String>,
    conditions_v4: Option<Vec<String>>,
    conditions_v6: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenMapping {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

impl Config {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Error> {
        let written: Written = call.conf.read()?;
        let mappings = call.runtime_config().read::<Vec<WrittenMapping>>("portMappings");
        let mappings = mappings.map_err(|e| call.error(format!("failed to load netconf: {e}")))?;
        Self::of(&written, &mappings.unwrap_or_default())
            .map_err(|why| call.error(format!("failed to parse config: {why}")))
    }

    fn of(written: &Written, mappings: &[WrittenMapping]) -> Result<Self, String> {
        check_marks(written)?;
        check_backend(written)?;
        let conditions = |list: &Option<Vec<String>>, key, family| {
            conditions::read(list.as_deref().unwrap_or_default(), family)
                .map_err(|why| format!("{key}: {why}"))
        };
        Ok(Self {
            mappings: mappings.iter().map(mapping).collect::<Result<_, _>>()?,
            snat: written.snat.unwrap_or(true),
            masq_all: written.masq_all,
            conditions_v4: conditions(&written.conditions_v4, "conditionsV4", Family::V4)?,
            conditions_v6: conditions(&written.conditions_v6, "conditionsV6", Family::V6)?,
        })
    }

    /// What a packet must be besides.
    pub(super) fn conditions(&self, family: Family) -> &[FwExpr] {
        match family {
            Family::V4 => &self.conditions_v4,
            Family::V6 => &self.conditions_v6,
        }
    }
}

fn check_marks(written: &Written) -> Result<(), String> {
    match (&written.external_set_mark_chain, written.mark_masq_bit) {
        (Some(_), Some(_)) => Err("Cannot specify externalSetMarkChain and markMasqBit".to_owned()),
        (_, Some(bit)) if !(0..=31).contains(&bit) => Err("MasqMarkBit must be between 0 and 31".to_owned()),
        _ => Ok(()),
    }
}

/// The options that belong to one backend, and to which.
fn specific_options(written: &Written) -> Vec<(&'static str, &'static str)> {
    let lists = [("conditionsV4", &written.conditions_v4), ("conditionsV6", &written.conditions_v6)];
    let listed = lists.into_iter().filter_map(|(key, list)| {
        let list = list.as_deref().filter(|list| !list.is_empty())?;
        Some((key, if conditions::are_iptables(list) { "iptables" } else { "nftables" }))
    });
    let chain = written.external_set_mark_chain.as_ref().map(|_| ("externalSetMarkChain", "iptables"));
    listed.chain(chain).collect()
}

fn check_backend(written: &Written) -> Result<(), String> {
    let backend = match written.backend.as_deref() {
        None => return Ok(()),
        Some(backend @ ("iptables" | "nftables")) => backend,
        Some(other) => return Err(format!("unrecognized backend {other:?}")),
    };
    let options = specific_options(written);
    let Some((_, other)) = options.iter().find(|(_, of)| *of != backend) else { return Ok(()) };
    let names: Vec<&str> = options.iter().filter(|(_, of)| of == other).map(|(key, _)| *key).collect();
    Err(format!(
        "{backend} backend was requested but configuration contains {other}-specific options [{}]",
        names.join(" ")
    ))
}

fn mapping(written: &WrittenMapping) -> Result<Mapping, String> {
    let port = |number: i64, whose: &str| {
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        port.ok_or_else(|| format!("Invalid {whose} port number: {number}"))
    };
    let transport = match written.protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        _ => {
            return Err(format!("unsupported protocol {:?}: tcp, udp and sctp have ports", written.protocol));
        }
    };
    let host_ip = match written.host_ip.as_str() {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| format!("invalid host IP address {text:?}"))?),
    };
    Ok(Mapping {
        transport,
        family: host_ip.map(Family::of),
        host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
        container_port: port(written.container_port, "container")?,
        host_port: port(written.host_port, "host")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(conf: &str, mappings: &str) -> Result<Config, String> {
        let mappings: Vec<WrittenMapping> = serde_json::from_str(mappings).unwrap();
        Config::of(&serde_json::from_str(conf).unwrap(), &mappings)
    }

    #[test]
    fn an_address_of_the_node_says_the_family_and_the_unspecified_one_no_more() {
        let config = read(
            "{}",
            r#"[{"hostPort": 80, "containerPort": 8080, "protocol": "TCP"},
                {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "0.0.0.0"},
                {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "fd00::1"}]"#,
        );
        let [any, v4, v6] = config.unwrap().mappings.try_into().unwrap();
        assert!(any.serves(Family::V4) && any.serves(Family::V6) && any.host_ip.is_none());
        assert!(v4.serves(Family::V4) && !v4.serves(Family::V6) && v4.host_ip.is_none());
        assert!(!v6.serves(Family::V4) && v6.host_ip == Some("fd00::1".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (conf, mappings, text) in [
            (r#"{"markMasqBit": 32}"#, "[]", "MasqMarkBit must be between 0 and 31"),
            (
                r#"{"markMasqBit": 3, "externalSetMarkChain": "X"}"#,
                "[]",
                "Cannot specify externalSetMarkChain and markMasqBit",
            ),
            (r#"{"backend": "pf"}"#, "[]", "unrecognized backend \"pf\""),
            (
                r#"{"backend": "nftables", "conditionsV4": ["-s", "10.0.0.0/8"], "externalSetMarkChain": "X"}"#,
                "[]",
                "nftables backend was requested but configuration contains iptables-specific options [conditionsV4 externalSetMarkChain]",
            ),
            (
                r#"{"backend": "iptables", "conditionsV6": ["ip6", "saddr", "fd00::/8"]}"#,
                "[]",
                "iptables backend was requested but configuration contains nftables-specific options [conditionsV6]",
            ),
            ("{}", r#"[{"hostPort": 0, "containerPort": 1}]"#, "Invalid host port number: 0"),
            ("{}", r#"[{"hostPort": 1, "containerPort": -1}]"#, "Invalid container port number: -1"),
            ("{}", r#"[{"hostPort": 70000, "containerPort": 1}]"#, "Invalid host port number: 70000"),
            ("{}", r#"[{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}]"#, "unsupported protocol"),
            ("{}", r#"[{"hostPort": 1, "containerPort": 1, "hostIP": "here"}]"#, "invalid host IP address"),
        ] {
            let error = read(conf, mappings).unwrap_err();
            assert!(error.starts_with(text), "{conf} {mappings}: {error}");
        }
    }
}
