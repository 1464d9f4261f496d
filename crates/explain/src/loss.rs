//! Why a packet is lost, and what to do about it.

use std::net::IpAddr;

use polynic_net::Mac;
use polynic_net::stack::{FibKind, Stack};

use crate::firewall::Place;
use crate::flow::Flow;
use crate::lookup::Verdict;
use crate::policy;
use crate::reverse_path::{ReversePath, mode};
use crate::scene::{Scene, Site};

/// A packet is lost in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where, as a position in [`Scene::sites`].
    pub site: usize,
    /// Why.
    pub cause: Cause,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No table has a route.
    NoRoute {
        /// To this address.
        dst: IpAddr,
    },
    /// A rule refuses.
    Rule(String),
    /// A route refuses.
    Route {
        /// The rule that led to it.
        rule: String,
        /// Its destination.
        dst: String,
        /// Its table.
        table: u32,
        /// How it refuses.
        kind: FibKind,
    },
    /// The source is no address of the sender.
    StrangeSource(IpAddr),
    /// The link that the sender insists on is down or gone.
    LinkDown(u32),
    /// The reverse path check.
    ReversePath {
        /// The link by which it came in.
        link: u32,
        /// The source.
        source: Option<IpAddr>,
        /// What the check says.
        check: ReversePath,
    },
    /// There would be a way, but the host is no router.
    NotForwarding {
        /// The link by which it came in.
        link: u32,
        /// The destination.
        dst: IpAddr,
    },
    /// Addresses that no packet on a wire may have.
    Martian {
        /// The packet.
        flow: Flow,
    },
    /// Nobody takes it.
    NoNeighbour {
        /// On this link.
        link: u32,
        /// For this next hop.
        hop: IpAddr,
        /// The entry that names a hardware address nobody has.
        stale: Option<Mac>,
        /// A link on the wire is down.
        down: bool,
    },
    /// The next hop is the host of the parent link.
    Parent {
        /// The macvlan.
        link: u32,
        /// The next hop.
        hop: IpAddr,
    },
    /// A VXLAN knows no other end for the next hop.
    NoTunnelEnd {
        /// The VXLAN.
        link: u32,
        /// The next hop's hardware address.
        mac: Mac,
    },
    /// The firewall.
    Firewall {
        /// The hook.
        hook: &'static str,
        /// The rule.
        place: Place,
    },
    /// It goes round in circles.
    Loop,
}

impl Cause {
    /// Why a lookup leads nowhere.
    pub(crate) fn of_verdict(verdict: &Verdict, flow: &Flow) -> Self {
        match verdict {
            Verdict::RefusedByRule(rule) => Self::Rule(rule.to_string()),
            Verdict::RefusedByRoute(rule, route) => Self::Route {
                rule: rule.to_string(),
                dst: route.dst.to_string(),
                table: route.table,
                kind: route.kind,
            },
            Verdict::StrangeSource(ip) => Self::StrangeSource(*ip),
            Verdict::LinkDown(link) => Self::LinkDown(*link),
            _ => Self::NoRoute { dst: flow.dst },
        }
    }
}

impl Loss {
    /// What happened.
    pub fn what(&self, scene: &Scene) -> String {
        let site = &scene.sites[self.site];
        let (name, stack) = (&site.name, &site.stack);
        let link = |index: &u32| stack.name_of(*index);
        match &self.cause {
            Cause::NoRoute { dst } => format!("{name} has no route to {dst}"),
            Cause::Rule(rule) => format!("{name}: the rule \"{rule}\" refuses it"),
            Cause::Route { rule, dst, table, kind } => {
                format!("{name}: the rule \"{rule}\" leads to \"{} {dst}\" in table {table}", kind.word())
            }
            Cause::StrangeSource(ip) => format!("{name} has no address {ip} to send from"),
            Cause::LinkDown(index) => format!("{name}: {} is down or gone", link(index)),
            Cause::ReversePath { link, source, check } => disbelief(site, (*link, *source), check),
            Cause::NotForwarding { link: index, dst } => {
                format!("{name} got a packet for {dst} by {} and forwards nothing", link(index))
            }
            Cause::Martian { flow } => {
                let source = flow.src.map(|ip| ip.to_string()).unwrap_or_default();
                format!("{name} takes no packet from {source} to {} from a wire", flow.dst)
            }
            Cause::NoNeighbour { link: index, hop, stale: Some(mac), .. } => {
                format!("{name} takes {hop} to be at {mac} on {}, and nobody there has that", link(index))
            }
            Cause::NoNeighbour { link: index, hop, down: true, .. } => {
                format!("{name}: nobody on {} answers for {hop}, and a link there is down", link(index))
            }
            Cause::NoNeighbour { link: index, hop, .. } => {
                format!("{name}: nobody on {} answers for {hop}", link(index))
            }
            Cause::Parent { link: index, hop } => {
                format!(
                    "{name}: {hop} is on the parent of {}, and a macvlan never reaches its parent",
                    link(index)
                )
            }
            Cause::NoTunnelEnd { link: index, mac } => {
                format!("{name}: {} does not know behind which host {mac} is", link(index))
            }
            Cause::Firewall { hook, place } => match policy::isolating(stack, place) {
                Some(names) => format!(
                    "{name} drops it at {hook}: no MultiNetworkPolicy allows it, and {names} isolates it"
                ),
                None => format!("{name} drops it at {hook}: {place}"),
            },
            Cause::Loop => format!("it comes back to {name} again and again"),
        }
    }

    /// What helps.
    pub fn remedy(&self, scene: &Scene) -> String {
        let stack = &scene.sites[self.site].stack;
        let link = |index: &u32| stack.name_of(*index);
        match &self.cause {
            Cause::NoRoute { dst } if dst.is_ipv4() => "add a route to it, or a default route".to_owned(),
            Cause::NoRoute { .. } => "add an IPv6 route to it, or a default one".to_owned(),
            Cause::Rule(rule) => {
                let priority = rule.split(':').next().unwrap_or_default();
                format!("remove the rule (ip rule del priority {priority}), or put one before it")
            }
            Cause::Route { table, kind, dst, .. } => {
                format!(
                    "remove the route (ip route del {} {dst} table {table}), or add a narrower one",
                    kind.word()
                )
            }
            Cause::StrangeSource(_) => "send from an address that it has".to_owned(),
            Cause::LinkDown(index) => format!("ip link set {} up", link(index)),
            Cause::ReversePath { check: ReversePath::OwnSource, .. } => {
                "look for the same address on two hosts".to_owned()
            }
            Cause::ReversePath { link: index, source, .. } => {
                let source = source.map(|ip| ip.to_string()).unwrap_or_default();
                format!(
                    "give {source} a route by {0}, or loosen the check: sysctl -w net.ipv4.conf.{0}.rp_filter=2",
                    link(index)
                )
            }
            Cause::NotForwarding { dst, .. } if dst.is_ipv4() => "sysctl -w net.ipv4.ip_forward=1".to_owned(),
            Cause::NotForwarding { .. } => "sysctl -w net.ipv6.conf.all.forwarding=1".to_owned(),
            Cause::Martian { .. } => "use other addresses".to_owned(),
            Cause::NoNeighbour { link: index, hop, stale: Some(_), .. } => {
                format!("remove the entry (ip neigh del {hop} dev {})", link(index))
            }
            Cause::NoNeighbour { link: index, hop, .. } => {
                format!(
                    "check that {hop} is right and that its host is up and on the wire of {}",
                    link(index)
                )
            }
            Cause::Parent { hop, .. } => {
                format!(
                    "give {hop} a route by a NIC that leads to the node, as router, veth and coordinator do"
                )
            }
            Cause::NoTunnelEnd { link: index, mac } => format!(
                "see whether what keeps the tunnel runs (flanneld), or bridge fdb append {mac} dev {} dst HOST",
                link(index)
            ),
            Cause::Firewall { place, .. } => accept(stack, place),
            Cause::Loop => "look for two routes that point at each other".to_owned(),
        }
    }
}

/// Why the reverse path filter drops a packet from `source` that came by `link`.
fn disbelief(site: &Site, (link, source): (u32, Option<IpAddr>), check: &ReversePath) -> String {
    let (name, stack) = (&site.name, &site.stack);
    let source = source.map(|ip| ip.to_string()).unwrap_or_default();
    let how = match check {
        ReversePath::OtherLink(links) => {
            let names: Vec<String> = links.iter().map(|link| stack.name_of(*link)).collect();
            format!("the way back is by {}", names.join(" or "))
        }
        ReversePath::OwnSource => "that is an address of its own".to_owned(),
        _ => "there is no way back".to_owned(),
    };
    let (mode, link) = (mode(stack, link), stack.name_of(link));
    format!("{name} does not believe that {source} is behind {link}: {how} (rp_filter {mode})")
}

/// What helps against a firewall.
fn accept(stack: &Stack, place: &Place) -> String {
    if policy::isolating(stack, place).is_some() {
        return "allow it in one of these policies, or in another one about this pod and network".to_owned();
    }
    match place.handle {
        Some(handle) => format!(
            "change the policy that made the rule, or remove it: nft delete rule {} {} handle {handle}",
            place.table, place.chain
        ),
        None => format!("add a rule to {} {} that accepts it", place.table, place.chain),
    }
}
