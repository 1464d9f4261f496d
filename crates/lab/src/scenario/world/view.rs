//! What the kernel shows in a namespace.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use polynic_kernel::{Door, RealDoor};
use polynic_net::{
    AddressFact, Family, Forwarding, IfName, LinkFact, LinkNeed, Needs, Neighbour, NsFacts, Route, Rule,
    TABLE_MAIN,
};

use super::{Place, World};
use crate::proxy;

impl World {
    /// What the kernel shows in a namespace: links, addresses, routes.
    pub fn look(&self, place: Place<'_>) -> Result<View, String> {
        let path = self.network_path(place)?.to_string_lossy().into_owned();
        let mut kernel = RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())?;
        let mut needs = Needs::default();
        needs.pod.links = LinkNeed::All;
        (needs.pod.routes, needs.pod.rules, needs.pod.neighbours) = (true, true, true);
        let links = kernel.observe(&needs).map_err(|why| why.to_string())?.pod.unwrap_or_default();
        needs.pod.addresses = links.links.iter().map(|link| link.name.clone()).collect();
        let tunnels = links.links.iter().filter(|link| link.vxlan.is_some());
        needs.pod.forwarding = tunnels.map(|link| link.name.clone()).collect();
        let facts = kernel.observe(&needs).map_err(|why| why.to_string())?.pod.unwrap_or_default();
        Ok(View(facts))
    }

    /// The endpoints to which a node leads packets of Services.
    pub fn served(&self, node: &str) -> Result<BTreeSet<SocketAddr>, String> {
        let path = self.network_path(Place::Host(node))?.to_string_lossy().into_owned();
        let mut kernel = RealDoor::default().open(Some(&path)).map_err(|why| why.to_string())?;
        let mut needs = Needs::default();
        needs.pod.firewall = proxy::plan::tables().to_vec();
        let facts = kernel.observe(&needs).map_err(|why| why.to_string())?.pod.unwrap_or_default();
        Ok(facts.firewall.iter().filter_map(proxy::plan::endpoint).collect())
    }
}

/// What was seen in a namespace.
pub struct View(NsFacts);

impl View {
    /// The names of all links, in the order of their making.
    pub fn link_names(&self) -> Vec<String> {
        let mut links: Vec<&LinkFact> = self.0.links.iter().collect();
        links.sort_by_key(|link| link.index);
        links.iter().map(|link| link.name.to_string()).collect()
    }

    /// A link.
    pub fn link(&self, name: &str) -> Result<&LinkFact, String> {
        let found = self.0.links.iter().find(|link| link.name.as_str() == name);
        found.ok_or_else(|| format!("there is no link {name}, only {}", self.link_names().join(", ")))
    }

    /// A link's hardware address as `ip link` shows it.
    pub fn mac(&self, name: &str) -> Result<String, String> {
        self.link(name)?
            .mac
            .map(|mac| mac.to_string())
            .ok_or_else(|| format!("{name} has no hardware address"))
    }

    /// A link's addresses of one family that are of use beyond the link.
    pub fn addresses(&self, name: &str, family: Family) -> Vec<&AddressFact> {
        let on_link = self.0.addresses.iter().filter(|address| address.link.as_str() == name);
        on_link.filter(|a| a.is_global() && Family::of(a.net.addr()) == family).collect()
    }

    /// The only such address of a link.
    pub fn address(&self, name: &str, family: Family) -> Result<IpAddr, String> {
        match self.addresses(name, family).as_slice() {
            [only] => Ok(only.net.addr()),
            several => Err(format!("{name} has {} {family} addresses", several.len())),
        }
    }

    /// All addresses of a link.
    pub fn all_addresses(&self, name: &str) -> Vec<String> {
        let on_link = self.0.addresses.iter().filter(|address| address.link.as_str() == name);
        on_link.map(|address| address.net.to_string()).collect()
    }

    /// Routes of the main table, in the kernel's order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.0.routes.iter().filter(|route| route.table == TABLE_MAIN)
    }

    /// Routes of any table as text, in the kernel's order.
    pub fn routes_in(&self, table: u32, family: Family) -> Vec<String> {
        let routes = self.0.routes.iter().filter(|r| r.table == table && r.family() == family);
        routes.map(ToString::to_string).collect()
    }

    /// The policy rules of a family that lead to a table.
    pub fn rules_to(&self, table: u32, family: Family) -> Vec<&Rule> {
        self.0.rules.iter().filter(|rule| rule.table == table && rule.family == family).collect()
    }

    /// Default routes of the main table as text, in the kernel's order.
    pub fn defaults(&self, family: Family) -> Vec<String> {
        self.routes().filter(|r| r.is_default() && r.family() == family).map(ToString::to_string).collect()
    }

    /// Permanent neighbours.
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.0.neighbours
    }

    /// Permanent forwarding entries of tunnels.
    pub fn forwarding(&self) -> &[Forwarding] {
        &self.0.forwarding
    }

    /// The name of a link by its index.
    pub fn name_of(&self, index: u32) -> Option<&IfName> {
        self.0.link_by_index(index).map(|link| &link.name)
    }
}
