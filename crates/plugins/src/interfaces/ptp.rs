//! `ptp`: a routed cable between the pod and the node (spec/plugins.md 1.4).

use std::net::IpAddr;

use polynic_cni::{Error, Interface, Ip, Success};
use polynic_net::{
    Address, Change, Entropy, Facts, Family, IfName, IpNet, Link, LinkKind, Mac, Needs, Place, Plan, Route,
    Sysctl, SysctlKey, Veth, scope,
};
use serde::Deserialize;

use crate::addressing::{self, Announce};
use crate::interfaces::refuse_taken_name;
use crate::{Attacher, Attachment, Call, Leftovers, Planned, forwarding, masquerade, prev};

/// Metric of the routes that the kernel adds for IPv6 addresses (`IP6_RT_PRIO_ADDRCONF`).
const KERNEL_IPV6_METRIC: u32 = 256;
/// `RTPROT_KERNEL`.
const KERNEL_PROTOCOL: u8 = 2;

/// The plugin.
pub struct Ptp;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    ip_masq: bool,
    ip_masq_backend: String,
    mtu: u32,
}

struct PtpAttachment {
    ip_masq: bool,
    mtu: Option<u32>,
}

impl Attacher for Ptp {
    fn plugin_type(&self) -> &'static str {
        "ptp"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let config: Config = call.conf.read()?;
        masquerade::check_backend(call, &config.ip_masq_backend)?;
        Ok(Box::new(PtpAttachment { ip_masq: config.ip_masq, mtu: (config.mtu != 0).then_some(config.mtu) }))
    }
}

/// The new pair.
struct Pair {
    host: IfName,
    host_mac: Mac,
    pod_mac: Mac,
}

impl PtpAttachment {
    fn create(&self, call: &Call<'_>, pair: &Pair) -> Change {
        let peer =
            Veth { place: Place::Host, name: pair.host.clone(), mac: Some(pair.host_mac), mtu: self.mtu };
        let kind = LinkKind::Veth(peer);
        Change::create_link(
            Place::Pod,
            Link { name: call.ifname.clone(), kind, mac: Some(pair.pod_mac), mtu: self.mtu },
        )
    }
}

/// In the pod everything but the gateway goes through the gateway, which alone is on the cable.
fn pod_routes(plan: &mut Plan, call: &Call<'_>, ip: &Ip, gateway: IpAddr) {
    let (net, source) = (ip.address.trunc(), ip.address.addr());
    if net.prefix_len() == net.max_prefix_len() {
        // The kernel makes no connected route for a single address.
        let hop = Route::new(IpNet::from(gateway), &call.ifname).link_scope().from_src(source);
        plan.own(Change::add_route(Place::Pod, hop));
        return;
    }
    plan.own(Change::delete_route(Place::Pod, connected(net, source, &call.ifname)));
    let hop = Route::new(IpNet::from(gateway), &call.ifname).link_scope().from_src(source);
    plan.own(Change::add_route(Place::Pod, hop));
    plan.own(Change::add_route(Place::Pod, Route::new(net, &call.ifname).via(gateway).from_src(source)));
}

/// The route that the kernel adds with an address.
fn connected(net: IpNet, source: IpAddr, link: &IfName) -> Route {
    let route = Route { protocol: KERNEL_PROTOCOL, ..Route::new(net, link).link_scope() };
    match Family::of(source) {
        Family::V4 => route.from_src(source),
        Family::V6 => Route { priority: KERNEL_IPV6_METRIC, ..route },
    }
}

fn host_side(plan: &mut Plan, host: &IfName, ip: &Ip, gateway: IpAddr) {
    plan.own(Change::add_address(Place::Host, Address::new(host, IpNet::from(gateway))));
    let mut route = Route::new(IpNet::from(ip.address.addr()), host);
    if route.family() == Family::V4 {
        route.scope = scope::HOST;
    }
    plan.own(Change::add_route(Place::Host, route));
}

/// A pod is no router that the node should believe. Where IPv6 is off there is nothing to set.
fn no_router_advertisements(facts: &Facts, host: &IfName) -> Option<Change> {
    let default = addressing::default_of("ipv6", "accept_ra");
    let old = facts.host.sysctl(&default).filter(|value| *value != "0")?;
    let key = SysctlKey::conf("ipv6", host, "accept_ra");
    Some(Change::sysctl(Place::Host, Sysctl { key, value: old.to_owned() }, "0"))
}

fn gateway(call: &Call<'_>, ip: &Ip) -> Result<IpAddr, Error> {
    ip.gateway.ok_or_else(|| call.error(format!("address {} has no gateway, which ptp needs", ip.address)))
}

impl Attachment for PtpAttachment {
    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        if let Some(result) = ipam {
            addressing::needs(&mut needs, result);
            forwarding::needs(&mut needs, result);
            needs.host.sysctl(addressing::default_of("ipv6", "accept_ra"));
        }
        if self.ip_masq {
            needs.host.firewall.push(masquerade::table());
        }
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        if call.conf.ipam_type.is_empty() {
            return Err(call.error("no plugin name provided"));
        }
        refuse_taken_name(call, facts)
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        ipam: Option<&Success>,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        refuse_taken_name(call, facts)?;
        let ipam = ipam.ok_or_else(|| call.error("IPAM plugin returned missing IP config"))?;
        let pair = Pair { host: entropy.veth_name(), host_mac: entropy.mac(), pod_mac: entropy.mac() };
        let result = result(call, ipam, &pair);
        let mut plan = Plan::default();
        forwarding::enable(&mut plan, &facts.host, ipam);
        plan.own(self.create(call, &pair));
        if let Some(change) = no_router_advertisements(facts, &pair.host) {
            plan.own(change);
        }
        plan.own(Change::up(Place::Host, &pair.host));
        addressing::configure(&mut plan, call, facts, &result, Announce::No)?;
        for ip in &result.ips {
            pod_routes(&mut plan, call, ip, gateway(call, ip)?);
        }
        for ip in &result.ips {
            host_side(&mut plan, &pair.host, ip, gateway(call, ip)?);
        }
        if self.ip_masq {
            let nets: Vec<IpNet> = result.ips.iter().map(|ip| ip.address).collect();
            masquerade::setup(&mut plan, call, &nets);
        }
        Ok(Planned { plan, result })
    }

    fn leftover_needs(&self, _: &Call<'_>) -> Needs {
        masquerade::leftover_needs()
    }

    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        Leftovers { changes: masquerade::leftovers(call, &facts.host), ..Leftovers::interface(call) }
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        prev::interface(call, prev, facts, "veth")?;
        prev::addresses_and_routes(call, prev, facts)
    }

    fn status(&self, call: &Call<'_>, _: &Facts) -> Result<(), Error> {
        match call.conf.ipam_type.as_str() {
            "" => Err(call.error("no plugin name provided")),
            _ => Ok(()),
        }
    }
}

fn result(call: &Call<'_>, ipam: &Success, pair: &Pair) -> Success {
    let mut result = addressing::on_interface(ipam, 1);
    let host =
        Interface { name: pair.host.to_string(), mac: pair.host_mac.to_string(), ..Interface::default() };
    let pod = Interface {
        name: call.ifname.to_string(),
        mac: pair.pod_mac.to_string(),
        sandbox: call.invocation.netns.clone(),
        ..Interface::default()
    };
    result.interfaces = vec![host, pod];
    if !call.conf.dns.is_empty() {
        result.dns = call.conf.dns.clone();
    }
    result
}
