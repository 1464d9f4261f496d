//! `bridge`: a cable from the pod to a software switch on the node (spec/plugins.md 1.1).
//!
//! The switch, its addresses and forwarding are shared and never taken back by DEL; the cable, its port settings, masquerade and
//! spoof check rules are the attachment's own.

mod config;
mod gateway;
mod plan;
mod spoof;
#[cfg(test)]
mod tests;

use polynic_cni::{Error, Success};
use polynic_net::{Entropy, Facts, IfName, LinkFact, Needs, Place};

use crate::interfaces::refuse_taken_name;
use crate::{Attacher, Attachment, Call, Leftovers, Planned, addressing, forwarding, mac, masquerade, prev};
use config::Config;

/// The plugin.
pub struct Bridge;

impl Attacher for Bridge {
    fn plugin_type(&self) -> &'static str {
        "bridge"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        Config::read(call).map(|config| Box::new(config) as Box<dyn Attachment>)
    }
}

pub(crate) const MAC_SOURCES: mac::Sources = mac::Sources { config_key: false, cni_args_object: true };

impl Attachment for Config {
    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs {
        let mut needs = self.own_needs();
        needs.pod.link(&call.ifname);
        if let Some(result) = ipam {
            addressing::needs(&mut needs, result);
            // On CHECK the result is prevResult, and the host end is to be found.
            let host_ends = result.interfaces.iter().filter(|i| i.sandbox.is_empty());
            for name in host_ends.filter_map(|i| i.name.parse().ok()) {
                needs.host.link(&name);
                if self.filters_vlans() {
                    needs.host.vlans_of_port(&name);
                }
            }
            if self.is_gateway {
                forwarding::needs(&mut needs, result);
            }
        }
        if self.ip_masq {
            needs.merge(masquerade::needs());
        }
        if self.mac_spoof_check {
            needs.merge(spoof::needs());
        }
        needs
    }

    fn further_needs(&self, _: &Call<'_>, facts: &Facts) -> Needs {
        let config = self.resolved(facts);
        let mut needs = if config.bridge == self.bridge { Needs::default() } else { config.own_needs() };
        if self.is_gateway {
            gateway::further_needs(&mut needs, &config, facts);
        }
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        mac::requested(call, MAC_SOURCES)?;
        self.refuse_other_kind(call, facts)?;
        refuse_taken_name(call, facts).map_err(|_| {
            call.error(format!(
                "container veth name ({:?}) peer provided (\"\") already exists",
                call.ifname.as_str()
            ))
        })
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        ipam: Option<&Success>,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        self.preflight(call, facts)?;
        plan::Planner::new(&self.resolved(facts), call, facts, entropy)?.plan(ipam)
    }

    fn leftover_needs(&self, _: &Call<'_>) -> Needs {
        let mut needs = masquerade::leftover_needs();
        if self.mac_spoof_check {
            needs.merge(spoof::needs());
        }
        needs
    }

    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let mut leftovers = Leftovers::interface(call);
        leftovers.changes.extend(masquerade::leftovers(call, &facts.host));
        leftovers.changes.extend(spoof::leftovers(call, &facts.host));
        leftovers
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        self.resolved(facts).check_bridge(call, prev, facts)?;
        let link = prev::interface(call, prev, facts, "veth")?;
        let port = self.check_port(call, prev, facts, link.peer)?;
        self.check_vlans(call, facts, &port.name)?;
        prev::addresses_and_routes(call, prev, facts)
    }

    fn status(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        self.refuse_other_kind(call, facts).map_err(|e| Error::not_available(e.msg))
    }
}

impl Config {
    /// What is needed of the bridge and of its gateway.
    fn own_needs(&self) -> Needs {
        let mut needs = Needs::default();
        needs.host.link(&self.bridge);
        plan::needs(&mut needs, self);
        if self.is_gateway {
            gateway::needs(&mut needs, self);
        }
        needs
    }

    fn refuse_other_kind(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        match facts.link(Place::Host, &self.bridge) {
            Some(link) if link.kind != "bridge" => {
                Err(call.error(format!("{:?} already exists but is not a bridge", self.bridge.as_str())))
            }
            _ => Ok(()),
        }
    }

    fn check_bridge(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        self.refuse_other_kind(call, facts)?;
        let Some(link) = facts.link(Place::Host, &self.bridge) else {
            return Err(call.error(format!("bridge {} not found", self.bridge)));
        };
        let promised =
            prev.interfaces.iter().find(|i| i.name == self.bridge.as_str() && i.sandbox.is_empty());
        let mac = link.mac.map(|m| m.to_string()).unwrap_or_default();
        match promised {
            Some(i) if !i.mac.is_empty() && !i.mac.eq_ignore_ascii_case(&mac) => {
                let text =
                    format!("Interface {} Mac {} doesn't match container Mac: {mac}", self.bridge, i.mac);
                return Err(call.error(text));
            }
            _ => {}
        }
        if link.promisc != self.promisc {
            return Err(call.error(format!(
                "bridge {}: promiscuous mode is {}, not {}",
                self.bridge, link.promisc, self.promisc
            )));
        }
        Ok(())
    }

    /// Some host end of prevResult must be the peer of the pod's end and a port of the bridge.
    fn check_port<'f>(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &'f Facts,
        peer: Option<u32>,
    ) -> Result<&'f LinkFact, Error> {
        let master = facts.link(Place::Host, &self.bridge).map(|b| b.index);
        let host_ends = prev.interfaces.iter().filter(|i| i.sandbox.is_empty());
        let found = host_ends
            .filter_map(|i| facts.host.links.iter().find(|l| l.name.as_str() == i.name))
            .find(|l| l.kind == "veth" && Some(l.index) == peer && l.master.is_some() && l.master == master);
        let missing = || format!("CNI veth created for bridge {} was not found", self.bridge);
        found.ok_or_else(|| call.error(missing()))
    }

    /// The port is in its VLANs, and no longer in the one where it started.
    fn check_vlans(&self, call: &Call<'_>, facts: &Facts, port: &IfName) -> Result<(), Error> {
        let Some(held) = facts.host.port_vlans.get(port) else { return Ok(()) };
        if let Some(missing) = plan::wanted_vlans(self, port).iter().find(|vlan| !held.contains(vlan)) {
            let tag = if missing.untagged { "untagged" } else { "tagged" };
            return Err(call.error(format!("port {port} does not have VLAN {} ({tag})", missing.vid)));
        }
        match plan::removed_vlan(self, facts).filter(|vid| held.iter().any(|vlan| vlan.vid == *vid)) {
            Some(vid) => Err(call.error(format!("port {port} has the bridge's default VLAN {vid}"))),
            None => Ok(()),
        }
    }
}
