//! What has to change for the kernel to be as desired. Pure.
//!
//! What is ours is known by its shape, not by memory: everything that flannel makes on a tunnel of its name has one. Routes on other links
//! carry no such mark; there only those go that were made before by this instance ([`Memory`]).

mod device;
mod firewall;
mod peers;
pub(crate) mod wireguard;

use std::collections::BTreeSet;
use std::net::IpAddr;

use polynic_net::{
    Change, FwObject, FwTable, IfName, IpNet, Link, NsFacts, NsNeeds, Place, Route, SysctlKey, TABLE_MAIN,
};

use crate::{Backend, Desired, NetConf, desired, iptables};
pub use device::ForeignDevice;

/// Changes that make sense only together: the first that fails ends its group, and no other.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What it is about, for messages.
    pub about: String,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// All groups in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The tunnels. Without them nothing else is of use.
    pub devices: Vec<Group>,
    /// What is on them, one after the other.
    pub groups: Vec<Group>,
    /// Changes of the firewall, one batch.
    pub firewall: Vec<Change>,
}

impl Changes {
    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        let groups = self.devices.iter().chain(&self.groups);
        self.firewall.len() + groups.map(|group| group.changes.len()).sum::<usize>()
    }

    fn push(&mut self, about: impl Into<String>, changes: Vec<Change>) {
        self.groups.extend(group(about, changes));
    }
}

fn group(about: impl Into<String>, changes: Vec<Change>) -> Option<Group> {
    (!changes.is_empty()).then(|| Group { about: about.into(), changes })
}

/// What this instance has made and nobody could tell from others' later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Routes without a tunnel: destination and next hop.
    pub routes: BTreeSet<(IpNet, Option<IpAddr>)>,
    /// Names of its tunnels.
    pub tunnels: BTreeSet<String>,
}

impl Memory {
    /// The text of its file: a route or tunnel per line.
    pub fn render(&self) -> String {
        let route = |(dst, gw): &(IpNet, Option<IpAddr>)| match gw {
            Some(gw) => format!("{dst} via {gw}\n"),
            None => format!("{dst} blackhole\n"),
        };
        let tunnels = self.tunnels.iter().map(|name| format!("tunnel {name}\n"));
        self.routes.iter().map(route).chain(tunnels).collect()
    }

    /// Reads the text of its file; lines that say nothing are left out.
    pub fn parse(text: &str) -> Self {
        let mut memory = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["tunnel", name] => memory.tunnels.extend([(*name).to_owned()]),
                [dst, "via", gw] => {
                    memory.routes.extend(dst.parse().ok().zip(gw.parse().ok().map(Some)));
                }
                [dst, "blackhole"] => memory.routes.extend(dst.parse().ok().map(|dst| (dst, None))),
                _ => {}
            }
        }
        memory
    }

    /// Takes in what another one knows.
    pub fn extend(&mut self, other: Self) {
        self.routes.extend(other.routes);
        self.tunnels.extend(other.tunnels);
    }

    fn made(&self, route: &Route) -> bool {
        route.table == TABLE_MAIN && self.routes.contains(&(route.dst, route.gw))
    }
}

/// What is to be remembered of a desired state.
pub fn memory(desired: &Desired) -> Memory {
    let on_tunnel = |route: &Route| desired.devices.iter().any(|d| Some(&d.link.name) == route.link.as_ref());
    let direct = desired.peers.iter().map(|peer| &peer.route).filter(|route| !on_tunnel(route));
    let wireguard = desired.wireguard.iter().flatten().map(|tunnel| &tunnel.link);
    let name = |link: &Link| link.name.to_string();
    Memory {
        routes: direct.chain(&desired.routes).map(|route| (route.dst, route.gw)).collect(),
        tunnels: desired.devices.iter().map(|device| &device.link).chain(wireguard).map(name).collect(),
    }
}

/// The names of an instance's tunnels, made or not.
fn device_names(conf: &NetConf) -> Vec<IfName> {
    let names: Vec<String> = match &conf.backend {
        Backend::Vxlan(vxlan) => {
            conf.networks.families().map(|family| desired::device_name(vxlan.vni, family)).collect()
        }
        Backend::Ipip { .. } => vec![desired::IPIP.to_owned()],
        // A tunnel of WireGuard is compared by itself.
        Backend::HostGw | Backend::Wireguard(_) => Vec::new(),
    };
    names.into_iter().filter_map(|name| IfName::new(name).ok()).collect()
}

/// What [`changes`] looks at.
pub fn needs(conf: &NetConf, tables: &[FwTable], needs: &mut NsNeeds) {
    needs.links = polynic_net::LinkNeed::All;
    (needs.all_addresses, needs.routes) = (true, true);
    for name in device_names(conf) {
        if let Backend::Vxlan(_) = conf.backend {
            needs.neighbours = true;
            needs.forwarding_of(&name);
        }
        needs.sysctl(SysctlKey::conf("ipv6", &name, "accept_ra"));
    }
    if let Backend::Wireguard(_) = conf.backend {
        wireguard::names().for_each(|name| needs.wireguard_of(&name));
    }
    needs.firewall.extend(tables.iter().cloned());
    needs.firewall.extend(iptables::tables(tables));
}

/// Compares. `memory` is what this instance made before, `tables` those of the firewall that were looked at and are its own.
///
/// # Errors
/// A link of a tunnel's name is no tunnel: it is somebody else's, and nothing is done.
pub fn changes(
    desired: &Desired,
    facts: &NsFacts,
    memory: &Memory,
    tables: &[FwTable],
) -> Result<Changes, ForeignDevice> {
    let mut changes = Changes::default();
    let mut kept = Vec::new();
    for device in &desired.devices {
        let verdict = device::compare(device, facts)?;
        changes.devices.extend(group(format!("device {}", device.link.name), verdict.changes));
        if verdict.kept {
            kept.push(device.link.name.clone());
        }
    }
    let tunnels = desired.wireguard.as_deref();
    let gone = tunnels.map(|tunnels| wireguard::obsolete(tunnels, facts)).unwrap_or_default();
    let seen = peers::Seen::new(facts, &kept, &gone);
    if let Some(tunnels) = tunnels {
        wireguard::check(tunnels, facts)?;
        for name in &gone {
            changes.devices.extend(group(format!("device {name}"), vec![wireguard::remove(name)]));
        }
        wireguard::compare(tunnels, facts, &seen, &mut changes);
    }
    for name in &memory.tunnels {
        changes.push(format!("former device {name}"), device::former(name, desired, facts));
    }
    peers::compare(desired, &seen, memory, &mut changes);
    let rules: Vec<FwObject> =
        desired.firewall.iter().filter(|o| tables.contains(o.table())).cloned().collect();
    changes.firewall = firewall::compare(&rules, &facts.firewall, tables);
    changes.firewall.extend(desired.in_forward.changes(&facts.firewall));
    Ok(changes)
}

/// Every change here is in the node's namespace.
const HOST: Place = Place::Host;

#[cfg(test)]
mod tests;
