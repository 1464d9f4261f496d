//! The plan of `bridge`, step by step as spec/plugins.md 1.1 orders them.

use polynic_cni::{Error, Interface, Success};
use polynic_net::{
    Attr, Change, Diff, Entropy, Facts, IfName, IpNet, Link, LinkKind, Mac, Needs, NsFacts, Object, Place,
    Plan, PortVlan, Sysctl, SysctlKey, Veth, Wait,
};

use super::config::Config;
use super::{MAC_SOURCES, gateway, spoof};
use crate::addressing::{self, Announce};
use crate::{Call, Planned, forwarding, mac, masquerade};

/// The VLAN of untagged packets on a port that has a trunk and no VLAN of its own, and where the ports of a new bridge start.
const NATIVE_VLAN: u16 = 1;

pub(super) fn needs(needs: &mut Needs, config: &Config) {
    needs.host.sysctl(addressing::default_of("ipv6", "accept_ra"));
    needs.host.sysctl(accept_ra(&config.bridge));
    // Whatever the families of the addresses: link-local ones count, too.
    for (family, setting) in [("ipv6", "accept_dad"), ("ipv6", "enhanced_dad"), ("ipv4", "arp_notify")] {
        needs.pod.sysctl(addressing::default_of(family, setting));
    }
}

fn accept_ra(link: &IfName) -> SysctlKey {
    SysctlKey::conf("ipv6", link, "accept_ra")
}

/// The VLAN in which the bridge lets ports start, if they are to be taken out of it.
pub(super) fn removed_vlan(config: &Config, facts: &Facts) -> Option<u16> {
    let bridge = facts.link(Place::Host, &config.bridge);
    let start = bridge.and_then(|bridge| bridge.vlan_default).unwrap_or(NATIVE_VLAN);
    let is_wanted = start == native_vlan(config) || config.trunk.contains(&start);
    (config.filters_vlans() && !config.preserve_default_vlan && !is_wanted && start != 0).then_some(start)
}

/// The VLANs of a port. The native one stays untagged even if the trunk names it.
pub(super) fn wanted_vlans(config: &Config, link: &IfName) -> Vec<PortVlan> {
    if !config.filters_vlans() {
        return Vec::new();
    }
    let native = native_vlan(config);
    let tagged = config.trunk.iter().filter(|vid| **vid != native);
    let tagged = tagged.map(|vid| port_vlan(link, *vid, false));
    std::iter::once(port_vlan(link, native, true)).chain(tagged).collect()
}

fn native_vlan(config: &Config) -> u16 {
    if config.vlan == 0 { NATIVE_VLAN } else { config.vlan }
}

fn port_vlan(link: &IfName, vid: u16, untagged: bool) -> PortVlan {
    PortVlan { link: link.clone(), vid, pvid: untagged, untagged }
}

pub(super) struct Planner<'a> {
    config: &'a Config,
    call: &'a Call<'a>,
    facts: &'a Facts,
    plan: Plan,
    host_end: IfName,
    host_mac: Mac,
    pod_mac: Mac,
    bridge_mac: Mac,
    /// For the gateway's port of a VLAN, if one must be made.
    spare: (IfName, Mac, Mac),
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        config: &'a Config,
        call: &'a Call<'a>,
        facts: &'a Facts,
        entropy: &mut Entropy,
    ) -> Result<Self, Error> {
        let requested = mac::requested(call, MAC_SOURCES)?;
        let present = facts.link(Place::Host, &config.bridge).and_then(|l| l.mac);
        Ok(Self {
            config,
            call,
            facts,
            plan: Plan::default(),
            host_end: entropy.veth_name(),
            host_mac: entropy.mac(),
            pod_mac: requested.unwrap_or_else(|| entropy.mac()),
            bridge_mac: present.unwrap_or_else(|| entropy.mac()),
            spare: (entropy.veth_name(), entropy.mac(), entropy.mac()),
        })
    }

    pub(super) fn plan(mut self, ipam: Option<&Success>) -> Result<Planned, Error> {
        let mut result = self.result(ipam);
        self.bridge();
        self.cable();
        let host_end = self.host_end.clone();
        self.port(&host_end, true);
        if self.config.mac_spoof_check {
            spoof::setup(&mut self.plan, self.call, &host_end, self.pod_mac);
        }
        match ipam {
            Some(_) => self.addresses(&mut result)?,
            None if !self.config.disable_container_interface => {
                self.plan.own(Change::up(Place::Pod, &self.call.ifname));
            }
            None => {}
        }
        if !self.config.disable_container_interface {
            self.plan.own(Change::wait(Place::Host, Wait::OperUp { link: host_end }));
        }
        Ok(Planned { plan: self.plan, result })
    }

    fn result(&self, ipam: Option<&Success>) -> Success {
        let mut result = ipam.map(|r| addressing::on_interface(r, 2)).unwrap_or_default();
        let on_host = |name: &IfName, mac: Mac| Interface {
            name: name.to_string(),
            mac: mac.to_string(),
            ..Interface::default()
        };
        let pod = Interface {
            sandbox: self.call.invocation.netns.clone(),
            ..on_host(&self.call.ifname, self.pod_mac)
        };
        result.interfaces =
            vec![on_host(&self.config.bridge, self.bridge_mac), on_host(&self.host_end, self.host_mac), pod];
        if !self.call.conf.dns.is_empty() {
            result.dns = self.call.conf.dns.clone();
        }
        result
    }

    /// Step 1, whether the bridge is there or not: a later repetition of the ADD may have to make it again. Its address is set even to
    /// what it is, which pins it: otherwise it would change with the ports, and with it every neighbour's cache and the truth of the
    /// answer.
    fn bridge(&mut self) {
        let name = &self.config.bridge;
        let fact = self.facts.link(Place::Host, name);
        let kind = LinkKind::Bridge { vlan_filtering: self.config.filters_vlans() };
        // Of one that is there the MTU is whoever's who made it.
        let mtu = self.config.mtu.filter(|mtu| fact.is_none_or(|link| link.mtu == *mtu));
        let link = Link { name: name.clone(), kind, mac: Some(self.bridge_mac), mtu };
        self.plan.ensure(Change::create_link(Place::Host, link));
        if fact.is_some() {
            // Not `ensure`: nothing is shared by it that another attempt would have to wait for.
            let mac = Attr::Mac(self.bridge_mac);
            self.plan.own(Change::attr(Place::Host, name, mac.clone(), mac));
        }
        self.bridge_settings(name);
        self.plan.ensure(Change::up(Place::Host, name));
    }

    fn bridge_settings(&mut self, name: &IfName) {
        let is_there = self.facts.link(Place::Host, name).is_some();
        let key = if is_there { accept_ra(name) } else { addressing::default_of("ipv6", "accept_ra") };
        // Where IPv6 is off there is nothing to set.
        if let Some(old) = self.facts.host.sysctl(&key) {
            let old = Sysctl { key: accept_ra(name), value: old.to_owned() };
            self.plan.ensure(Change::sysctl(Place::Host, old, "0"));
        }
        if self.config.promisc {
            self.plan.ensure(Change::attr(Place::Host, name, Attr::Promisc(false), Attr::Promisc(true)));
        }
    }

    /// For a new link. Where IPv6 is off there is nothing to set.
    fn no_router_advertisements(&self, link: &IfName) -> Option<Change> {
        let key = addressing::default_of("ipv6", "accept_ra");
        let old = self.facts.host.sysctl(&key).filter(|v| *v != "0")?;
        Some(Change::sysctl(Place::Host, Sysctl { key: accept_ra(link), value: old.to_owned() }, "0"))
    }

    /// Step 2.
    fn cable(&mut self) {
        let mtu = self.config.mtu;
        let peer = Veth { place: Place::Host, name: self.host_end.clone(), mac: Some(self.host_mac), mtu };
        let kind = LinkKind::Veth(peer);
        let link = Link { name: self.call.ifname.clone(), kind, mac: Some(self.pod_mac), mtu };
        self.plan.own(Change::create_link(Place::Pod, link));
        if let Some(change) = self.no_router_advertisements(&self.host_end) {
            self.plan.own(change);
        }
        self.plan.own(Change::up(Place::Host, &self.host_end));
    }

    /// Step 3: makes `link` a port, for the pod (`own`) or for the gateway of a VLAN.
    fn port(&mut self, link: &IfName, own: bool) {
        let master = Attr::Master(Some(self.config.bridge.clone()));
        let mut changes = vec![Change::attr(Place::Host, link, Attr::Master(None), master)];
        if self.config.hairpin && own {
            changes.push(Change::attr(Place::Host, link, Attr::Hairpin(false), Attr::Hairpin(true)));
        }
        if self.config.port_isolation && own {
            changes.push(Change::attr(Place::Host, link, Attr::Isolated(false), Attr::Isolated(true)));
        }
        changes.extend(self.port_vlans(link));
        for change in changes {
            if own { self.plan.own(change) } else { self.plan.ensure(change) }
        }
    }

    fn port_vlans(&self, link: &IfName) -> Vec<Change> {
        let config = self.config;
        if !config.filters_vlans() {
            return Vec::new();
        }
        let change = |diff| Change { place: Place::Host, object: Object::PortVlan(diff) };
        let start = removed_vlan(config, self.facts).map(|vid| port_vlan(link, vid, true));
        let mut changes: Vec<Change> = start.map(|vlan| change(Diff::delete(vlan))).into_iter().collect();
        // The native one also where the port starts in it: another bridge of this name may start ports elsewhere.
        changes.extend(wanted_vlans(config, link).into_iter().map(|vlan| change(Diff::create(vlan))));
        changes
    }

    /// Steps 6 to 9.
    fn addresses(&mut self, result: &mut Success) -> Result<(), Error> {
        gateway::complete(self.config, result);
        self.settings();
        addressing::configure(&mut self.plan, self.call, self.facts, result, Announce::No)?;
        if self.config.is_gateway {
            let link = self.gateway_link(result)?;
            gateway::addresses(&mut self.plan, self.call, self.facts, (self.config, &link), &result.ips)?;
            forwarding::enable(&mut self.plan, &self.facts.host, result);
        }
        if self.config.ip_masq {
            let nets: Vec<IpNet> = result.ips.iter().map(|ip| ip.address).collect();
            masquerade::setup(&mut self.plan, self.call, &nets);
        }
        Ok(())
    }

    /// Step 7.
    fn settings(&mut self) {
        let empty = NsFacts::default();
        let pod = self.facts.pod.as_ref().unwrap_or(&empty);
        let dad = if self.config.enable_dad { "1" } else { "0" };
        if self.config.enable_dad {
            addressing::set_new(&mut self.plan, self.call, pod, ("ipv6", "enhanced_dad"), "1");
        }
        addressing::set_new(&mut self.plan, self.call, pod, ("ipv6", "accept_dad"), dad);
        addressing::set_new(&mut self.plan, self.call, pod, ("ipv4", "arp_notify"), "1");
    }

    /// The bridge, or with a VLAN a port of its own that is made on demand (step 8).
    fn gateway_link(&mut self, result: &mut Success) -> Result<IfName, Error> {
        let Some(name) = gateway::link_name(self.config) else {
            let text = format!("{}.{} is no valid interface name", self.config.bridge, self.config.vlan);
            return Err(self.call.error(text));
        };
        if self.config.vlan == 0 {
            return Ok(name);
        }
        let present = self.facts.link(Place::Host, &name);
        let mac = present.and_then(|l| l.mac).unwrap_or(self.spare.1);
        match gateway::port(self.config, self.facts).map(|port| port.name.clone()) {
            Some(port) => self.gateway_port(&name, &port),
            None if present.is_none() => self.new_gateway_port(&name, mac),
            None => {}
        }
        let entry = Interface { name: name.to_string(), mac: mac.to_string(), ..Interface::default() };
        result.interfaces.push(entry);
        Ok(name)
    }

    fn new_gateway_port(&mut self, name: &IfName, mac: Mac) {
        let (port, _, port_mac) = self.spare.clone();
        let peer = Veth { place: Place::Host, name: port.clone(), mac: Some(port_mac), mtu: self.config.mtu };
        let kind = LinkKind::Veth(peer);
        let link = Link { name: name.clone(), kind, mac: Some(mac), mtu: self.config.mtu };
        self.plan.ensure(Change::create_link(Place::Host, link));
        self.gateway_port(name, &port);
    }

    fn gateway_port(&mut self, name: &IfName, port: &IfName) {
        self.port(port, false);
        self.plan.ensure(Change::up(Place::Host, port));
        self.plan.ensure(Change::up(Place::Host, name));
    }
}
