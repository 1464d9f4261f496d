//! The whole world as text lines that compare well: without order, indexes, and what the kernel chose by itself.

use std::collections::BTreeMap;
use std::fmt;

use polynic_net::IfName;

use super::address::BY_KERNEL;
use super::link::{End, FakeLink, Wire};
use super::space::Space;
use super::sysctl;
use super::world::{HOST, World};

/// Everything there is at one moment, one line per object. Left out: indexes, operational states, the order of routes and
/// firewall rules, MACs of bridges, settings that have their default value, and loopback and link-local addresses with
/// their routes, which the kernel makes by itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: Vec<String>,
}

impl Snapshot {
    pub(super) fn of(world: &World) -> Self {
        let paths: BTreeMap<u32, &str> = world.paths.iter().map(|(path, n)| (*n, path.as_str())).collect();
        let mut lines = Vec::new();
        for (number, space) in &world.spaces {
            let label = match paths.get(number) {
                _ if *number == HOST => "host".to_owned(),
                Some(path) => (*path).to_owned(),
                None => format!("unnamed namespace {number}"),
            };
            lines.push(format!("{label}: namespace"));
            lines
                .extend(link_lines(world, *number, space).into_iter().map(|line| format!("{label}: {line}")));
            lines.extend(lines_of(space).into_iter().map(|line| format!("{label}: {line}")));
        }
        lines.sort();
        Self { lines }
    }

    /// The lines, sorted.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What `later` has lost (`-`) and gained (`+`) since this snapshot; empty if they are equal.
    pub fn diff(&self, later: &Self) -> Vec<String> {
        let without = |a: &Self, b: &Self, sign: char| -> Vec<String> {
            let mut rest = b.lines.clone();
            let mut only = Vec::new();
            for line in &a.lines {
                match rest.iter().position(|l| l == line) {
                    Some(at) => drop(rest.swap_remove(at)),
                    None => only.push(format!("{sign} {line}")),
                }
            }
            only
        };
        [without(self, later, '-'), without(later, self, '+')].concat()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.lines).finish()
    }
}

fn lines_of(space: &Space) -> Vec<String> {
    let addresses = space.addresses.iter().filter(|a| !a.auto);
    let addresses = addresses.map(|a| format!("address {} on {} nodad={}", a.net, a.link, a.nodad));
    let mut lines: Vec<String> = addresses.collect();
    let routes = space.routes.iter().filter(|r| !is_link_local(r));
    lines.extend(routes.map(|r| format!("route {r} {r:?}")));
    lines.extend(space.rules.iter().map(|r| format!("rule {r:?}")));
    lines.extend(space.traffic.iter().map(|t| format!("traffic {t:?}")));
    lines.extend(space.neighbours.iter().map(|n| format!("neighbour {n:?}")));
    lines.extend(space.forwarding.iter().map(|e| format!("forwarding {e:?}")));
    lines.extend(space.wireguard.iter().map(|w| format!("wireguard {w:?}")));
    lines.extend(space.zone_sources.iter().flatten().map(|s| format!("source {s}")));
    let set = space.sysctls.iter().filter(|(key, value)| sysctl::default_of(key) != Some(value.as_str()));
    lines.extend(set.map(|(key, value)| format!("sysctl {key}={value}")));
    let objects = space.firewall.tables().flat_map(|t| space.firewall.objects(t));
    lines.extend(objects.map(|o| format!("firewall {o:?}")));
    lines.extend(space.rulesets.iter().map(|ruleset| format!("firewall {ruleset:?}")));
    lines
}

fn link_lines(world: &World, number: u32, space: &Space) -> Vec<String> {
    let line = |(name, link): (&IfName, &FakeLink)| {
        let mtu = world.mtu(&End { space: number, name: name.clone() }, link);
        format!("link {name} {}", link_text(link, mtu))
    };
    space.links.iter().map(line).collect()
}

fn link_text(link: &FakeLink, mtu: u32) -> String {
    let mac = match link.wire {
        Wire::Bridge { .. } => "by chance".to_owned(),
        _ => link.mac.to_string(),
    };
    let FakeLink { wire, up, promisc, all_multi, tx_queue_len, alias, master, .. } = link;
    let state = format!("{wire:?} mac={mac} mtu={mtu} up={up} promisc={promisc} all_multi={all_multi}");
    let port =
        format!("master={master:?} hairpin={} isolated={} {:?}", link.hairpin, link.isolated, link.vlans);
    let vfs: Vec<String> = link.vfs.iter().map(|vf| format!(" {vf:?}")).collect();
    format!("{state} tx_queue_len={tx_queue_len} alias={alias:?} {port}{}", vfs.concat())
}

fn is_link_local(route: &polynic_net::Route) -> bool {
    route.protocol == BY_KERNEL
        && matches!(route.dst.addr(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
}
