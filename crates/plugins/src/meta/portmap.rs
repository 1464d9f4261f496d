//! `portmap`: ports of the node that lead to a pod (spec/plugins.md 3.2).
//!
//! Whichever `backend` a configuration names, the objects are those of the nftables backend in its tables `cni_hostport`: packets
//! cannot tell the difference. What differs from it is better on purpose: rules are keyed by network, container and interface,
//! conditions stand in the rules of their attachment, and only what came by a mapped port is masqueraded. So no mark is needed, and
//! `markMasqBit` and `externalSetMarkChain` are accepted without effect.

mod conditions;
mod config;
mod rules;

use std::net::IpAddr;

use polynic_cni::{Error, Success};
use polynic_net::{
    Change, Diff, Entropy, Facts, Family, Flows, FwObject, FwTable, IpNet, Needs, NsFacts, Object, Place,
    Plan, Sysctl, SysctlKey,
};

use self::config::{Config, Mapping, Transport};
use self::rules::{HOSTPORTS, MASQUERADING, Rules};
use crate::{Call, ChainedAttachment, ChainedPlugin, Leftovers, Planned, comment, iptables};

/// The plugin.
pub struct Portmap;

/// What the replaced plugin's iptables backend leaves.
const IPTABLES: iptables::Chain<'static> =
    iptables::Chain { prefix: "CNI-DN-", from: "CNI-HOSTPORT-DNAT", comment: "dnat " };

struct Mapped {
    config: Config,
}

impl ChainedPlugin for Portmap {
    fn plugin_type(&self) -> &'static str {
        "portmap"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        Ok(Box::new(Mapped { config: Config::read(call)? }))
    }
}

/// The first address of each family that is the container's: without interface, of one that prevResult does not list, or of this
/// interface in a sandbox.
fn container_addresses(call: &Call<'_>, prev: &Success) -> Vec<IpNet> {
    let ours = |index: Option<usize>| {
        let named = index.and_then(|index| prev.interfaces.get(index));
        named.is_none_or(|i| i.name == call.ifname.as_str() && !i.sandbox.is_empty())
    };
    let first = |family| {
        let mut own = prev.ips.iter().filter(|ip| ours(ip.interface)).map(|ip| ip.address);
        own.find(|net| Family::of(net.addr()) == family)
    };
    [Family::V4, Family::V6].into_iter().filter_map(first).collect()
}

fn tables() -> [FwTable; 2] {
    [Family::V4, Family::V6].map(rules::table)
}

fn route_localnet(host: &NsFacts, ip: IpAddr) -> Option<SysctlKey> {
    host.ways.get(&ip).map(|way| SysctlKey::conf("ipv4", &way.link, "route_localnet"))
}

impl Mapped {
    fn mappings(&self, family: Family) -> impl Iterator<Item = &Mapping> {
        self.config.mappings.iter().filter(move |m| m.serves(family))
    }

    fn rules<'a>(&'a self, call: &'a Call<'a>, pod: IpNet) -> Rules<'a> {
        Rules { call, config: &self.config, pod }
    }

    /// The addresses for which there is something to map.
    fn mapped(&self, call: &Call<'_>, prev: &Success) -> Vec<IpNet> {
        let mut addresses = container_addresses(call, prev);
        addresses.retain(|net| self.mappings(Family::of(net.addr())).next().is_some());
        addresses
    }

    /// Packets from 127.0.0.1 leave the node only where this is set. The link may be a bridge, which others share.
    fn open_localhost(&self, plan: &mut Plan, host: &NsFacts, ip: IpAddr) {
        let Some(key) = route_localnet(host, ip).filter(|_| self.config.snat && ip.is_ipv4()) else { return };
        if let Some(old) = host.sysctl(&key) {
            let old = Sysctl { key, value: old.to_owned() };
            plan.ensure(Change::sysctl(Place::Host, old, "1"));
        }
    }

    fn forget_flows(&self, plan: &mut Plan, family: Family) {
        for mapping in self.mappings(family).filter(|m| m.transport == Transport::Udp) {
            let flows = Flows { family, protocol: mapping.transport.number(), port: mapping.host_port };
            plan.own(Change::forget(Place::Host, flows));
        }
    }
}

impl ChainedAttachment for Mapped {
    fn without_prev_result(&self) -> &'static str {
        "must be called as chained plugin"
    }

    fn shares(&self) -> bool {
        !self.config.mappings.is_empty()
    }

    fn needs(&self, call: &Call<'_>, prev: &Success) -> Needs {
        let mut needs = Needs::default();
        for net in self.mapped(call, prev) {
            needs.host.firewall.push(rules::table(Family::of(net.addr())));
            needs.host.ways.push(net.addr());
        }
        needs
    }

    fn further_needs(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Needs {
        let mut needs = Needs::default();
        for net in self.mapped(call, prev).iter().filter(|net| net.addr().is_ipv4()) {
            route_localnet(&facts.host, net.addr()).into_iter().for_each(|key| needs.host.sysctl(key));
        }
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        _entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let mut plan = Plan::default();
        for net in self.mapped(call, prev) {
            let family = Family::of(net.addr());
            let rules = self.rules(call, net);
            for object in rules.shared() {
                plan.ensure(Change::add_firewall(Place::Host, object));
            }
            self.open_localhost(&mut plan, &facts.host, net.addr());
            for rule in rules.own(self.mappings(family)) {
                plan.own(Change::add_firewall(Place::Host, FwObject::Rule(rule)));
            }
            self.forget_flows(&mut plan, family);
        }
        Ok(Planned { plan, result: prev.clone() })
    }

    fn leftover_needs(&self, _call: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.host.firewall.extend(tables());
        iptables::needs(&mut needs);
        needs
    }

    /// Our rules, and those of the replaced plugin: of its nftables backend, whose comment is the container's id, and of iptables.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let prefix = comment::prefix(call);
        let is_ours = |object: &&FwObject| {
            matches!(object, FwObject::Rule(r) if [HOSTPORTS, MASQUERADING].contains(&r.chain.as_str())
                && tables().contains(&r.table)
                && (r.comment.starts_with(&prefix) || r.comment == call.container_id()))
        };
        let delete =
            |o: &FwObject| Change { place: Place::Host, object: Object::Firewall(Diff::delete(o.clone())) };
        let mut changes: Vec<Change> = facts.host.firewall.iter().filter(is_ours).map(delete).collect();
        changes.extend(IPTABLES.leftovers(call, &facts.host));
        Leftovers { changes, ..Leftovers::default() }
    }

    fn check_needs(&self, call: &Call<'_>, prev: &Success) -> Needs {
        let mut needs = Needs::default();
        let addresses = self.mapped(call, prev);
        needs.host.firewall.extend(addresses.iter().map(|net| rules::table(Family::of(net.addr()))));
        needs
    }

    /// Every mapping has its rules, ours or the replaced plugin's.
    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        for net in self.mapped(call, prev) {
            let rules = self.rules(call, net);
            let missing = rules.own(self.mappings(Family::of(net.addr()))).into_iter().find(|wanted| {
                !facts.host.firewall.iter().any(|seen| {
                    matches!(seen, FwObject::Rule(r) if r.table == wanted.table && r.chain == wanted.chain
                        && (r.comment == wanted.comment || r.comment == call.container_id()))
                })
            });
            if let Some(rule) = missing {
                let text = format!("expected rule {:?} not found in chain {}", rule.comment, rule.chain);
                return Err(call.error(text));
            }
        }
        Ok(())
    }
}
