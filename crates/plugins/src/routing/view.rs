//! What the routing plugins read from facts (spec/coordinator.md 1.2 to 1.4).

use std::net::IpAddr;

use polynic_cni::Error;
use polynic_net::{Facts, Family, IfName, IpNet, LinkFact, LinkNeed, Needs, NsFacts, Place};

use crate::Call;

/// Both namespaces, the pod's certainly.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) host: &'a NsFacts,
    pub(super) pod: &'a NsFacts,
}

/// What every routing plugin looks at first. Everything else hangs on the addresses in the pod.
pub(super) fn needs() -> Needs {
    let mut needs = Needs::default();
    for place in [Place::Host, Place::Pod] {
        let at = needs.at_mut(place);
        at.links = LinkNeed::All;
        at.all_addresses = true;
        at.routes = true;
        at.rules = true;
        at.neighbours = true;
    }
    needs
}

/// For [`View::node_ips`]: how the node would reach each address of the pod; and what `own_answers` asks for.
pub(super) fn source_needs(needs: &mut Needs, facts: &Facts) {
    let pod = facts.pod.as_ref();
    let addresses = pod.map(|pod| pod.addresses.as_slice()).unwrap_or_default();
    needs.host.sources.extend(addresses.iter().filter(|a| a.is_global()).map(|a| a.net.addr()));
    super::own_answers::needs(needs, facts);
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

    /// The addresses of a pod's link that are of use beyond it, in the kernel's order.
    pub(super) fn pod_addresses(&self, link: &IfName) -> Vec<IpNet> {
        let usable = self.pod.addresses_of(link).filter(|a| a.is_global() && !a.dad_failed);
        usable.map(|a| a.net).collect()
    }

    /// The addresses of the node, as far as pods need to reach them: first those that the node would use towards the pod's
    /// addresses, then those of its links, without the ones whose name is `excluded` (spec/coordinator.md 1.4).
    pub(super) fn node_ips(&self, families: &[Family], excluded: impl Fn(&str) -> bool) -> Vec<IpAddr> {
        let pod_links = by_index(self.pod).filter(|l| !l.loopback);
        let own = pod_links.flat_map(|l| self.pod_addresses(&l.name));
        let towards = own.filter_map(|net| self.host.sources.get(&net.addr()).copied());
        let node_links = by_index(self.host).filter(|l| !excluded(l.name.as_str()));
        let held = node_links.flat_map(|l| self.host.addresses_of(&l.name));
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
            r.is_default()
                && r.family() == family
                && r.table == polynic_net::TABLE_MAIN
                && r.link.as_ref() == Some(&link)
        })
    }
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
