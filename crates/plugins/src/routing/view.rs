//! What the routing plugins read from facts (spec/coordinator.md 1.2 to 1.4).

use std::net::IpAddr;

use polynic_cni::Error;
use polynic_net::{Destination, Facts, Family, IfName, IpNet, LinkFact, LinkNeed, Needs, NsFacts};

use crate::Call;

/// Both namespaces, the pod's certainly.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) host: &'a NsFacts,
    pub(super) pod: &'a NsFacts,
}

/// What every routing plugin looks at first: the pod, of which everything else hangs.
pub(super) fn needs() -> Needs {
    let mut needs = Needs::default();
    let pod = &mut needs.pod;
    pod.links = LinkNeed::All;
    pod.all_addresses = true;
    pod.routes = true;
    pod.rules = true;
    pod.neighbours = true;
    needs
}

/// What a routing plugin must know of the node once it knows the pod.
pub(super) struct NodeNeeds<'a> {
    /// The interface's addresses.
    pub(super) addresses: &'a [IpNet],
    /// The node's table with the routes to them.
    pub(super) table: u32,
}

impl NodeNeeds<'_> {
    /// The other ends of the pod's cables, what the node knows of the interface's addresses, and for [`View::node_ips`] how the node would
    /// reach each address of the pod, and its own addresses; and what `own_answers` asks for.
    pub(super) fn add(&self, needs: &mut Needs, facts: &Facts) {
        let Some(pod) = &facts.pod else { return };
        let host = &mut needs.host;
        host.links_at.extend(pod.links.iter().filter(|l| is_cable(&l.kind)).filter_map(|l| l.peer));
        host.global_addresses = families(self.addresses);
        host.rules_of = families(self.addresses);
        let global = pod.addresses.iter().filter(|a| a.is_global());
        host.sources.extend(global.map(|a| a.net.addr()));
        let links = host.links_at.clone();
        let of = |ip| Destination { ip, table: self.table, links: links.clone() };
        host.destinations.extend(self.addresses.iter().map(|net| of(net.addr())));
        super::own_answers::needs(needs, facts);
    }
}

/// Whether a link of that kind has another end that is nobody else's.
fn is_cable(kind: &str) -> bool {
    matches!(kind, "veth" | "netkit")
}

/// The families of addresses, IPv4 first.
pub(super) fn families<'a>(addresses: impl IntoIterator<Item = &'a IpNet> + Clone) -> Vec<Family> {
    let has = |family| addresses.clone().into_iter().any(|a| Family::of(a.addr()) == family);
    [Family::V4, Family::V6].into_iter().filter(|f| has(*f)).collect()
}

/// An address as a network of its own, `/32` or `/128`.
pub(super) fn single(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

impl<'a> View<'a> {
    pub(super) fn new(call: &Call<'_>, facts: &'a Facts) -> Result<Self, Error> {
        let pod = facts.pod.as_ref().ok_or_else(|| call.error("the pod's network namespace is gone"))?;
        Ok(Self { host: &facts.host, pod })
    }

    /// A link of the pod that must be there.
    pub(super) fn pod_link(&self, call: &Call<'_>, name: &IfName) -> Result<&'a LinkFact, Error> {
        self.pod.link(name).ok_or_else(|| call.error(format!("interface {name} not found in the pod")))
    }

    /// The node's end of a cable whose one end is in the pod. Each end names the other: an index alone may be a link's of a third namespace.
    pub(super) fn other_end(&self, near: &LinkFact) -> Option<&'a LinkFact> {
        let is_end = |far: &&LinkFact| {
            Some(far.index) == near.peer
                && far.peer == Some(near.index)
                && far.kind == near.kind
                && is_cable(&far.kind)
        };
        self.host.links.iter().find(is_end)
    }

    /// The addresses of a pod's link that are of use beyond it, in the kernel's order.
    pub(super) fn pod_addresses(&self, link: &IfName) -> Vec<IpNet> {
        usable_addresses(self.pod, link)
    }

    /// The addresses of the node, as far as pods need to reach them: first those that the node would use towards the pod's
    /// addresses, then those of its links, without the ones whose name is `excluded` (spec/coordinator.md 1.4).
    pub(super) fn node_ips(&self, families: &[Family], excluded: impl Fn(&str) -> bool) -> Vec<IpAddr> {
        let pod_links = by_index(self.pod).filter(|l| !l.loopback);
        let own = pod_links.flat_map(|l| self.pod_addresses(&l.name));
        let towards = own.filter_map(|net| self.host.sources.get(&net.addr()).copied());
        // They come in the order of the links' indexes.
        let held = self.host.addresses.iter().filter(|a| !excluded(a.link.as_str()));
        let mut found: Vec<IpAddr> = Vec::new();
        for ip in towards.chain(held.filter(|a| a.is_global()).map(|a| a.net.addr())) {
            let wanted = families.contains(&Family::of(ip)) && !is_narrow(ip);
            if wanted && !found.contains(&ip) {
                found.push(ip);
            }
        }
        found
    }

    /// The first link of the pod, not `lo` and not `but`, with a default route of the family in main.
    pub(super) fn default_link(&self, family: Family, but: &IfName) -> Option<&'a IfName> {
        let holds = |link: &&LinkFact| self.defaults(family, &link.name).next().is_some();
        let links = by_index(self.pod).filter(|l| !l.loopback && l.name != *but);
        links.into_iter().find(holds).map(|l| &l.name)
    }

    /// The default routes of a pod's link in main.
    pub(super) fn defaults(
        &self,
        family: Family,
        link: &IfName,
    ) -> impl Iterator<Item = &'a polynic_net::Route> {
        let link = link.clone();
        self.pod.routes.iter().filter(move |r| {
            r.is_default() && r.family() == family && r.table == polynic_net::TABLE_MAIN && r.uses(&link)
        })
    }
}

/// The addresses of a link that are of use beyond it, in the kernel's order.
pub(super) fn usable_addresses(ns: &NsFacts, link: &IfName) -> Vec<IpNet> {
    let usable = ns.addresses_of(link).filter(|a| a.is_global() && !a.dad_failed);
    usable.map(|a| a.net).collect()
}

/// Loopback or link-local.
fn is_narrow(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

fn by_index(ns: &NsFacts) -> std::vec::IntoIter<&LinkFact> {
    let mut links: Vec<&LinkFact> = ns.links.iter().collect();
    links.sort_by_key(|l| l.index);
    links.into_iter()
}
