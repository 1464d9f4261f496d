//! One namespace.

use std::collections::BTreeMap;

use polynic_net::{
    Family, Forwarding, IfName, Neighbour, Route, Rule, SysctlKey, TABLE_LOCAL, TABLE_MAIN, Traffic,
    WireguardFact, ZoneSource,
};

use super::address::FakeAddress;
use super::firewall::Firewall;
use super::link::FakeLink;
use super::ruleset::Rulesets;
use super::sysctl;
use super::world::Refusal;
use crate::Errno;

/// Everything in one namespace. Objects refer to links by name: names do not change here.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub(super) links: BTreeMap<IfName, FakeLink>,
    pub(super) addresses: Vec<FakeAddress>,
    /// In the order of lookup among routes to one destination with one metric.
    pub(super) routes: Vec<Route>,
    pub(super) rules: Vec<Rule>,
    pub(super) neighbours: Vec<Neighbour>,
    /// Sources of firewalld's zones, if it runs.
    pub(super) zone_sources: Option<Vec<ZoneSource>>,
    pub(super) forwarding: Vec<Forwarding>,
    pub(super) wireguard: Vec<WireguardFact>,
    pub(super) sysctls: BTreeMap<SysctlKey, String>,
    pub(super) traffic: Vec<Traffic>,
    pub(super) firewall: Firewall,
    pub(super) rulesets: Rulesets,
}

impl Space {
    /// A new namespace: a loopback link that is down, and the kernel's own rules.
    pub(super) fn new() -> Self {
        let mut space = Self {
            links: BTreeMap::from([(IfName::loopback(), FakeLink::loopback())]),
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: kernel_rules(),
            neighbours: Vec::new(),
            zone_sources: None,
            forwarding: Vec::new(),
            wireguard: Vec::new(),
            sysctls: sysctl::of_new_space(),
            traffic: Vec::new(),
            firewall: Firewall::default(),
            rulesets: Rulesets::default(),
        };
        space.add_link_sysctls(&IfName::loopback());
        space
    }

    pub(super) fn link(&self, name: &IfName) -> Result<&FakeLink, Refusal> {
        self.links.get(name).ok_or_else(|| Errno::ENODEV.into())
    }

    pub(super) fn link_mut(&mut self, name: &IfName) -> Result<&mut FakeLink, Refusal> {
        self.links.get_mut(name).ok_or_else(|| Errno::ENODEV.into())
    }

    /// Drops what dies with a link that is unregistered.
    pub(super) fn forget(&mut self, name: &IfName) {
        self.addresses.retain(|a| a.link != *name);
        self.routes.retain(|r| !r.uses(name));
        self.neighbours.retain(|n| n.link != *name);
        self.forwarding.retain(|e| e.link != *name);
        self.wireguard.retain(|w| w.link != *name);
        self.traffic.retain(|t| t.link != *name);
        self.sysctls.retain(|key, _| !key.belongs_to(name));
        for port in self.links.values_mut().filter(|l| l.master.as_ref() == Some(name)) {
            port.leave_master();
        }
    }

    /// A link joins a VRF or leaves it (drivers/net/vrf.c, `cycle_netdev`): its connected routes follow, the others of the table
    /// it was in are lost. Its addresses stay, as they do with `keep_addr_on_down`.
    pub(super) fn change_domain(&mut self, link: &IfName, table: u32) {
        const BY_KERNEL: u8 = 2;
        self.routes.retain(|r| r.link.as_ref() != Some(link) || r.protocol == BY_KERNEL);
        for route in self.routes.iter_mut().filter(|r| r.link.as_ref() == Some(link)) {
            route.table = table;
        }
    }

    /// Adds a rule; the same one twice is refused (`fib_nl_newrule`, `rule_exists`).
    pub(super) fn add_rule(&mut self, rule: &Rule) -> Result<(), Refusal> {
        if self.rules.contains(rule) {
            return Err(Errno::EEXIST.into());
        }
        self.rules.push(rule.clone());
        Ok(())
    }

    pub(super) fn delete_rule(&mut self, rule: &Rule) -> Result<(), Refusal> {
        let at = self.rules.iter().position(|r| r == rule).ok_or(Errno::ENOENT)?;
        self.rules.remove(at);
        Ok(())
    }
}

/// The rules that every namespace has from the start. Table 253 is `default`; IPv6 has no rule for it.
fn kernel_rules() -> Vec<Rule> {
    let rule = |family, priority, table| Rule {
        family,
        priority,
        from: None,
        to: None,
        iif: None,
        mark: None,
        table,
    };
    vec![
        rule(Family::V4, 0, TABLE_LOCAL),
        rule(Family::V4, 32766, TABLE_MAIN),
        rule(Family::V4, 32767, 253),
        rule(Family::V6, 0, TABLE_LOCAL),
        rule(Family::V6, 32766, TABLE_MAIN),
    ]
}
