//! `calico-like`: the default network of the guides, for the lab (spec/calico-like-default-network.md 2 to 4 and 6).
//!
//! The pod gets a single address on a cable whose other end answers for everything: `169.254.1.1` by proxy ARP, the link-local
//! address that follows from the fixed hardware address for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polynic_cni::{Error, Interface, Route as ResultRoute, Success};
use polynic_net::{
    Address, Change, Entropy, Facts, Family, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject,
    FwPosition, FwRule, FwTable, FwVerdict, IfName, IpNet, Link, LinkKind, Mac, Needs, NsFacts, Place, Plan,
    Route, Sysctl, SysctlKey, Veth,
};
use serde::Deserialize;
use sha1::{Digest, Sha1};

use crate::addressing;
use crate::interfaces::refuse_taken_name;
use crate::{Attacher, Attachment, Call, Leftovers, Planned, forwarding, prev};

/// The hardware address of every host end.
const HOST_MAC: Mac = Mac([0xee; 6]);
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// fe80::ecee:eeff:feee:eeee, the link-local address of [`HOST_MAC`].
const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee));

/// Settings of the host end: family, name, value.
const HOST_SETTINGS: [(&str, &str, &str); 8] = [
    ("ipv4", "route_localnet", "1"),
    ("ipv4", "proxy_arp", "1"),
    ("ipv4", "forwarding", "1"),
    ("ipv6", "disable_ipv6", "0"),
    ("ipv6", "accept_dad", "0"),
    ("ipv6", "proxy_ndp", "1"),
    ("ipv6", "forwarding", "1"),
    ("ipv6", "accept_ra", "0"),
];

/// The plugin.
pub struct CalicoLike;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    mtu: u32,
    strict_reverse_path: bool,
    #[serde(rename = "include_default_routes")]
    include_default_routes: bool,
}

struct CalicoLikeAttachment {
    host_end: IfName,
    mtu: Option<u32>,
    strict_reverse_path: bool,
    include_default_routes: bool,
}

impl Attacher for CalicoLike {
    fn plugin_type(&self) -> &'static str {
        "calico-like"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let config: Config = call.conf.read()?;
        Ok(Box::new(CalicoLikeAttachment {
            host_end: host_end(call)?,
            mtu: (config.mtu != 0).then_some(config.mtu),
            strict_reverse_path: config.strict_reverse_path,
            include_default_routes: config.include_default_routes,
        }))
    }
}

/// `cali` and the first 11 digits of the SHA-1 of `<namespace>.<pod>`; without a pod, of the container id.
fn host_end(call: &Call<'_>) -> Result<IfName, Error> {
    let value = |key: &str| {
        let pairs = call.invocation.args.split(';').filter_map(|p| p.split_once('='));
        pairs.filter(|(k, _)| *k == key).map(|(_, v)| v).next_back().unwrap_or_default()
    };
    let (namespace, pod) = (value("K8S_POD_NAMESPACE"), value("K8S_POD_NAME"));
    let who = if pod.is_empty() { call.container_id().to_owned() } else { format!("{namespace}.{pod}") };
    let digits: String = Sha1::digest(who.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    IfName::new(format!("cali{}", &digits[..11])).map_err(|e| call.error(e))
}

fn strict_table() -> FwTable {
    FwTable::new(FwFamily::Inet, "polynic_calico_like")
}

/// What imitates the agent's strict check of the reverse path (spec/calico-like-default-network.md 6, step 5).
fn strict_objects() -> [FwObject; 3] {
    let chain = "prerouting";
    let base = FwBase { kind: FwKind::Filter, hook: FwHook::Prerouting, priority: -300 };
    let exprs = vec![FwExpr::Iif("cali*".to_owned()), FwExpr::NoReturnPath, FwExpr::Verdict(FwVerdict::Drop)];
    let rule = FwRule {
        table: strict_table(),
        chain: chain.to_owned(),
        position: FwPosition::Last,
        exprs,
        comment: "polynic: strict reverse path".to_owned(),
    };
    [
        FwObject::Table(strict_table()),
        FwObject::Chain(FwChain { table: strict_table(), name: chain.to_owned(), base: Some(base) }),
        FwObject::Rule(rule),
    ]
}

/// Where the value that a new link starts with can be read. Only the machine's first namespace has `neigh/default`; elsewhere
/// `lo`, which nobody has reason to change, still has what all links started with (net/core/neighbour.c, neigh_sysctl_register).
fn first_values(kind: &str, family: &str, setting: &str) -> impl Iterator<Item = SysctlKey> {
    let key = |link: &str| SysctlKey::new(format!("net/{family}/{kind}/{link}/{setting}")).ok();
    let fallback = if kind == "neigh" { key("lo") } else { None };
    [key("default"), fallback].into_iter().flatten()
}

impl CalicoLikeAttachment {
    /// `forwards` says of which families forwarding is being switched on by the same plan: that changes the default of new links.
    fn host_settings(&self, plan: &mut Plan, host: &NsFacts, forwards: &[&str]) {
        let settings = HOST_SETTINGS.map(|(family, setting, value)| ("conf", family, setting, value));
        let settings = settings
            .into_iter()
            .filter(|(_, f, setting, _)| *setting != "forwarding" || !forwards.contains(f));
        for (kind, family, setting, value) in settings.chain([("neigh", "ipv4", "proxy_delay", "0")]) {
            let before = first_values(kind, family, setting).find_map(|key| host.sysctl(&key));
            let key = SysctlKey::new(format!("net/{family}/{kind}/{}/{setting}", self.host_end));
            if let (Some(before), Ok(key)) = (before.filter(|b| *b != value), key) {
                let before = Sysctl { key, value: before.to_owned() };
                plan.own(Change::sysctl(Place::Host, before, value));
            }
        }
    }

    fn strict(&self, plan: &mut Plan) {
        if self.strict_reverse_path {
            let shared = strict_objects().into_iter();
            shared.for_each(|object| plan.ensure(Change::add_firewall(Place::Host, object)));
        }
    }

    /// The defaults, or what IPAM says instead of (or besides) them.
    fn destinations(&self, family: Family, ipam: &Success) -> Vec<IpNet> {
        let everywhere = IpNet::new_assert(polynic_net::ip_from_u128(family, 0), 0);
        let mut custom: Vec<IpNet> =
            ipam.routes.iter().map(|r| r.dst.trunc()).filter(|d| Family::of(d.addr()) == family).collect();
        if (custom.is_empty() || self.include_default_routes) && !custom.contains(&everywhere) {
            custom.push(everywhere);
        }
        custom
    }

    fn pod_side(&self, plan: &mut Plan, call: &Call<'_>, pod: &NsFacts, ipam: &Success) {
        let link = &call.ifname;
        if addressing::has_family(ipam, Family::V6) {
            addressing::set_new(plan, call, pod, ("ipv6", "disable_ipv6"), "0");
            addressing::set_new(plan, call, pod, ("ipv6", "accept_dad"), "0");
        }
        plan.own(Change::up(Place::Host, &self.host_end));
        plan.own(Change::up(Place::Pod, link));
        if addressing::has_family(ipam, Family::V4) {
            let hop = Route::new(IpNet::from(GATEWAY_V4), link).link_scope();
            plan.own(Change::add_route(Place::Pod, hop));
        }
        for ip in &ipam.ips {
            plan.own(Change::add_address(Place::Pod, Address::new(link, IpNet::from(ip.address.addr()))));
        }
        for (family, gateway) in [(Family::V4, GATEWAY_V4), (Family::V6, GATEWAY_V6)] {
            if addressing::has_family(ipam, family) {
                let routes =
                    self.destinations(family, ipam).into_iter().map(|d| Route::new(d, link).via(gateway));
                routes.for_each(|route| plan.own(Change::add_route(Place::Pod, route)));
            }
        }
    }

    fn result(&self, call: &Call<'_>, ipam: &Success, pod_mac: Mac) -> Success {
        let mut result = addressing::on_interface(ipam, 1);
        for ip in &mut result.ips {
            ip.address = IpNet::from(ip.address.addr());
            ip.gateway = None;
        }
        result.routes = result.ips.iter().map(|ip| ResultRoute::new(ip.address, None)).collect();
        let host = Interface { name: self.host_end.to_string(), ..Interface::default() };
        let pod = Interface {
            name: call.ifname.to_string(),
            mac: pod_mac.to_string(),
            sandbox: call.invocation.netns.clone(),
            ..Interface::default()
        };
        result.interfaces = vec![host, pod];
        result
    }
}

impl Attachment for CalicoLikeAttachment {
    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        needs.host.link(&self.host_end);
        if let Some(result) = ipam {
            addressing::needs(&mut needs, result);
            forwarding::needs(&mut needs, result);
            let settings =
                HOST_SETTINGS.iter().flat_map(|(family, setting, _)| first_values("conf", family, setting));
            let delay = first_values("neigh", "ipv4", "proxy_delay");
            settings.chain(delay).for_each(|key| needs.host.sysctl(key));
        }
        if self.strict_reverse_path {
            needs.host.firewall.push(strict_table());
        }
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        if call.conf.ipam_type.is_empty() {
            return Err(call.error("no plugin name provided"));
        }
        // The name follows from the pod, so the pod's previous sandbox may still hold it.
        if facts.link(Place::Host, &self.host_end).is_some() {
            let text = format!(
                "host interface {} exists: the pod's previous sandbox is not deleted yet",
                self.host_end
            );
            return Err(call.explain(Error::try_again(text)));
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
        self.preflight(call, facts)?;
        let ipam = ipam.ok_or_else(|| call.error("IPAM plugin returned missing IP config"))?;
        let pod_mac = entropy.mac();
        let empty = NsFacts::default();
        let mut plan = Plan::default();
        forwarding::enable(&mut plan, &facts.host, ipam);
        self.strict(&mut plan);
        let peer =
            Veth { place: Place::Host, name: self.host_end.clone(), mac: Some(HOST_MAC), mtu: self.mtu };
        let kind = LinkKind::Veth(peer);
        let link = Link { name: call.ifname.clone(), kind, mac: Some(pod_mac), mtu: self.mtu };
        plan.own(Change::create_link(Place::Pod, link));
        self.host_settings(&mut plan, &facts.host, &forwarding::being_enabled(&facts.host, ipam));
        self.pod_side(&mut plan, call, facts.pod.as_ref().unwrap_or(&empty), ipam);
        for ip in &ipam.ips {
            let route = Route::new(IpNet::from(ip.address.addr()), &self.host_end).link_scope();
            plan.own(Change::add_route(Place::Host, route));
        }
        Ok(Planned { plan, result: self.result(call, ipam, pod_mac) })
    }

    fn leftovers(&self, call: &Call<'_>, _: &Facts) -> Leftovers {
        // Not the host end by name: it may be the next sandbox's by now. It dies with the pod's end.
        Leftovers::interface(call)
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        prev::interface(call, prev, facts, "veth")?;
        // The result's routes name the pod's own addresses, which are in the kernel's local table.
        let addresses = Success { routes: Vec::new(), ..prev.clone() };
        prev::addresses_and_routes(call, &addresses, facts)
    }

    fn status(&self, _: &Call<'_>, _: &Facts) -> Result<(), Error> {
        Ok(())
    }
}
