//! The three shapes of a printed result. The order of the fields is the order in which they are printed.

use serde::Serialize;

use crate::result::{Dns, Interface, Ip, Route, Success, go_ip, go_net};
use crate::version::Version;

fn is_none_or_zero(number: &Option<u32>) -> bool {
    number.is_none_or(|number| number == 0)
}

/// 0.1.0 and 0.2.0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OldForm<'a> {
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<OldIp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<OldIp>,
    dns: &'a Dns,
}

#[derive(Serialize)]
struct OldIp {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<OldRoute>,
}

#[derive(Serialize)]
struct OldRoute {
    dst: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<String>,
}

impl<'a> OldForm<'a> {
    pub(super) fn of(success: &'a Success, version: Version) -> OldForm<'a> {
        OldForm {
            cni_version: version.as_str(),
            ip4: OldIp::first(success, true),
            ip6: OldIp::first(success, false),
            dns: &success.dns,
        }
    }
}

impl OldIp {
    /// The first address of a family, with the family's routes.
    fn first(success: &Success, v4: bool) -> Option<OldIp> {
        let ip = success.ips.iter().find(|ip| is_v4(ip.address) == v4)?;
        let routes = success.routes.iter().filter(|route| is_v4(route.dst) == v4);
        let route = |route: &Route| OldRoute { dst: go_net(route.dst), gw: route.gw.map(go_ip) };
        Some(OldIp {
            ip: go_net(ip.address),
            gateway: ip.gateway.map(go_ip),
            routes: routes.map(route).collect(),
        })
    }
}

fn is_v4(net: ipnet::IpNet) -> bool {
    net.addr().to_canonical().is_ipv4()
}

/// 0.3.0 to 0.4.0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MiddleForm<'a> {
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<MiddleInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<MiddleIp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<MiddleRoute>,
    dns: &'a Dns,
}

#[derive(Serialize)]
struct MiddleInterface<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
}

#[derive(Serialize)]
struct MiddleIp {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

#[derive(Serialize)]
struct MiddleRoute {
    dst: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<String>,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    advmss: Option<u32>,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
}

impl<'a> MiddleForm<'a> {
    pub(super) fn of(success: &'a Success, version: Version) -> MiddleForm<'a> {
        MiddleForm {
            cni_version: version.as_str(),
            interfaces: success.interfaces.iter().map(MiddleInterface::of).collect(),
            ips: success.ips.iter().map(MiddleIp::of).collect(),
            routes: success.routes.iter().map(MiddleRoute::of).collect(),
            dns: &success.dns,
        }
    }
}

impl<'a> MiddleInterface<'a> {
    fn of(interface: &'a Interface) -> MiddleInterface<'a> {
        MiddleInterface { name: &interface.name, mac: &interface.mac, sandbox: &interface.sandbox }
    }
}

impl MiddleIp {
    fn of(ip: &Ip) -> MiddleIp {
        MiddleIp {
            version: if is_v4(ip.address) { "4" } else { "6" },
            interface: ip.interface,
            address: go_net(ip.address),
            gateway: ip.gateway.map(go_ip),
        }
    }
}

impl MiddleRoute {
    fn of(route: &Route) -> MiddleRoute {
        MiddleRoute {
            dst: go_net(route.dst),
            gw: route.gw.map(go_ip),
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope: route.scope,
        }
    }
}

/// 1.0.0 and 1.1.0: keys sorted at every level.
#[derive(Serialize)]
pub(super) struct NewForm<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<NewDns<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<NewInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<NewIp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<NewRoute>,
}

#[derive(Serialize)]
struct NewDns<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    nameservers: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    options: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    search: &'a [String],
}

#[derive(Serialize)]
struct NewInterface<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    mtu: Option<u32>,
    name: &'a str,
    #[serde(rename = "pciID", skip_serializing_if = "str::is_empty")]
    pci_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
    #[serde(rename = "socketPath", skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
}

#[derive(Serialize)]
struct NewIp {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
}

#[derive(Serialize)]
struct NewRoute {
    #[serde(skip_serializing_if = "is_none_or_zero")]
    advmss: Option<u32>,
    dst: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<String>,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "is_none_or_zero")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
}

impl<'a> NewForm<'a> {
    pub(super) fn of(success: &'a Success, version: Version) -> NewForm<'a> {
        NewForm {
            cni_version: version.as_str(),
            dns: NewDns::of(&success.dns),
            interfaces: success.interfaces.iter().map(NewInterface::of).collect(),
            ips: success.ips.iter().map(NewIp::of).collect(),
            routes: success.routes.iter().map(NewRoute::of).collect(),
        }
    }
}

impl<'a> NewDns<'a> {
    fn of(dns: &'a Dns) -> Option<NewDns<'a>> {
        let Dns { nameservers, domain, search, options } = dns;
        (!dns.is_empty()).then_some(NewDns { domain, nameservers, options, search })
    }
}

impl<'a> NewInterface<'a> {
    fn of(interface: &'a Interface) -> NewInterface<'a> {
        NewInterface {
            mac: &interface.mac,
            mtu: interface.mtu,
            name: &interface.name,
            pci_id: &interface.pci_id,
            sandbox: &interface.sandbox,
            socket_path: &interface.socket_path,
        }
    }
}

impl NewIp {
    fn of(ip: &Ip) -> NewIp {
        NewIp { address: go_net(ip.address), gateway: ip.gateway.map(go_ip), interface: ip.interface }
    }
}

impl NewRoute {
    fn of(route: &Route) -> NewRoute {
        NewRoute {
            advmss: route.advmss,
            dst: go_net(route.dst),
            gw: route.gw.map(go_ip),
            mtu: route.mtu,
            priority: route.priority,
            scope: route.scope,
            table: route.table,
        }
    }
}
