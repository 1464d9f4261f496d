//! What a lab looks like: the networks of its nodes, pods and Services, the names of NICs, and who else is on the wires.
//!
//! The default is the quickstart's. Stories of other guides say only what differs. [`crate::underlay::Layout`] checks a shape and derives all names and
//! addresses from it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// All that can differ between labs, but for the number of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// A network per NIC of the nodes. The first one has the nodes' addresses that the cluster knows.
    pub underlays: Vec<Underlay>,
    /// Where pods of the default network get their addresses: node n has the n-th /24 and /64.
    pub pods: Dual,
    /// Where Services get theirs.
    pub services: Dual,
    /// What Node objects call `podCIDR`, where that is not the default network's: node n has the (n-1)-th /24 and /64.
    pub node_cidrs: Option<Dual>,
    /// Node objects say nothing of pods' networks, as where the cluster does not hand them out.
    pub nodes_without_cidrs: bool,
    /// Hosts beside the nodes.
    pub hosts: Vec<Host>,
    /// The ConfigMap `kubeadm-config` in kube-system says `pods` and `services`, as on clusters that kubeadm made.
    pub kubeadm_config: bool,
    /// Spiderpool is installed: its kinds, an agent on each node, the controller.
    pub spiderpool: bool,
    /// Network policies on secondary networks are switched on: their kind, the service on each node, the key in Multus' configuration.
    #[serde(default)]
    pub policies: bool,
    /// flannel's daemon runs on each node over its last NIC, with this text as `net-conf.json`.
    #[serde(default)]
    pub flannel: Option<String>,
    /// Multus is thick: runtimes call `multus-shim`, and one agent per node, with all its services, does the work.
    #[serde(default)]
    pub thick: bool,
}

/// A network of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dual {
    /// IPv4.
    pub v4: Ipv4Net,
    /// IPv6.
    pub v6: Ipv6Net,
}

impl Dual {
    /// The `at`-th /24 and /64.
    pub fn part(self, at: u16) -> [IpNet; 2] {
        let v4 = u32::from(self.v4.network()) + (u32::from(at) << 8);
        // The part's number is written so that it reads as in the IPv4 one.
        let v6 = u128::from(self.v6.network()) + (u128::from(decimal_as_hex(at)) << 64);
        [
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(v4), 24)),
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(v6), 64)),
        ]
    }

    /// Reads `CIDR4,CIDR6`.
    pub fn parse(text: &str) -> Result<Dual> {
        let bad = || {
            Error::Input(format!(
                "{text}: expected an IPv4 and an IPv6 network, such as 10.96.0.0/16,fd00:10:96::/112"
            ))
        };
        let (v4, v6) = text.split_once(',').ok_or_else(bad)?;
        let (v4, v6) = (v4.parse::<Ipv4Net>().map_err(|_| bad())?, v6.parse::<Ipv6Net>().map_err(|_| bad())?);
        Ok(Dual { v4: v4.trunc(), v6: v6.trunc() })
    }
}

/// The digits of a number below 1000 as they look in hexadecimal: 12 becomes 0x12.
pub fn decimal_as_hex(n: u16) -> u16 {
    n / 100 * 0x100 + n / 10 % 10 * 0x10 + n % 10
}

/// One network of the nodes. Its router has host number 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underlay {
    /// The name of the nodes' NIC; `eth0`, `eth1`, ... if absent.
    pub nic: Option<String>,
    /// IPv4.
    pub v4: Ipv4Net,
    /// IPv6; a companion with the same digits if absent.
    pub v6: Option<Ipv6Net>,
    /// Host numbers of node1, node2, ...; nodes beyond have 9 + n.
    pub numbers: Vec<u32>,
}

impl Underlay {
    /// A network whose other properties are the usual ones.
    pub fn of(v4: Ipv4Net) -> Underlay {
        Underlay { nic: None, v4, v6: None, numbers: Vec::new() }
    }

    /// Reads `[NIC=]CIDR4[,CIDR6]`.
    pub fn parse(text: &str) -> Result<Underlay> {
        let bad = |why: String| {
            Error::Input(format!(
                "underlay {text}: {why}; expected [NIC=]CIDR[,CIDR6], such as ens192=10.6.0.0/16"
            ))
        };
        let (nic, nets) =
            text.split_once('=').map_or((None, text), |(nic, nets)| (Some(nic.to_owned()), nets));
        let (v4, v6) = nets.split_once(',').map_or((nets, None), |(v4, v6)| (v4, Some(v6)));
        let v4 = v4.parse::<Ipv4Net>().map_err(|why| bad(why.to_string()))?.trunc();
        let v6 = v6.map(str::parse::<Ipv6Net>).transpose().map_err(|why| bad(why.to_string()))?;
        Ok(Underlay { nic, v4, v6: v6.map(|net| net.trunc()), numbers: Vec::new() })
    }
}

impl std::fmt::Display for Underlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.nic {
            Some(nic) => write!(f, "{nic}={}", self.v4),
            None => write!(f, "{}", self.v4),
        }
    }
}

/// A host that is no node: on the network of the nodes that its address is in, otherwise in a network behind the router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, as in `host/NAME`.
    pub name: String,
    /// Its address.
    pub v4: Ipv4Net,
}

impl Host {
    /// A host by name and address with prefix length.
    pub fn new(name: &str, v4: Ipv4Net) -> Host {
        Host { name: name.to_owned(), v4 }
    }
}

/// The underlay of a lab that was not given one: that of the quickstart guide.
const UNDERLAY: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 1, 0), 24);
/// The host behind the router (TEST-NET-2, RFC 5737).
const OUTSIDE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 10), 24);

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            underlays: vec![Underlay::of(UNDERLAY)],
            pods: Dual {
                v4: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16),
                v6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0), 48),
            },
            services: Dual {
                v4: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12),
                v6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0), 112),
            },
            node_cidrs: None,
            nodes_without_cidrs: false,
            hosts: vec![Host::new(crate::registry::OUTSIDE, OUTSIDE)],
            kubeadm_config: false,
            spiderpool: false,
            policies: false,
            flannel: None,
            thick: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_part_that_reads_alike_in_both_families() {
        let pods = Shape::default().pods;
        assert_eq!(pods.part(12).map(|net| net.to_string()), ["10.244.12.0/24", "fd00:10:244:12::/64"]);
        let small = Dual::parse("10.233.64.0/18,fd00:10:233:64::/56").unwrap();
        assert_eq!(small.part(1).map(|net| net.to_string()), ["10.233.65.0/24", "fd00:10:233:1::/64"]);
    }

    #[test]
    fn underlays_may_name_their_nic_and_their_ipv6_network() {
        let full = Underlay::parse("eth7=172.18.0.0/16,fc00:f853:ccd:e793::/64").unwrap();
        assert_eq!(
            (full.nic.as_deref(), full.v6.is_some(), full.to_string().as_str()),
            (Some("eth7"), true, "eth7=172.18.0.0/16")
        );
        assert_eq!(Underlay::parse("10.6.0.0/16").unwrap(), Underlay::of("10.6.0.0/16".parse().unwrap()));
        assert!(Underlay::parse("eth0=nonsense").unwrap_err().to_string().contains("[NIC=]CIDR"));
        assert!(Dual::parse("10.0.0.0/8").is_err());
    }
}
