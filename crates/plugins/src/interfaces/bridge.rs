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
use polynic_net::{Entropy, Facts, Needs, Place};

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
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        needs.host.link(&self.bridge);
        plan::needs(&mut needs, self);
        if self.is_gateway {
            gateway::needs(&mut needs, self);
        }
        if let Some(result) = ipam {
            addressing::needs(&mut needs, result);
            // On CHECK the result is prevResult, and the host end is to be found.
            let host_ends = result.interfaces.iter().filter(|i| i.sandbox.is_empty());
            host_ends.filter_map(|i| i.name.parse().ok()).for_each(|name| needs.host.link(&name));
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
        plan::Planner::new(self, call, facts, entropy)?.plan(ipam)
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
        self.check_bridge(call, prev, facts)?;
        let link = prev::interface(call, prev, facts, "veth")?;
        self.check_port(call, prev, facts, link.peer)?;
        prev::addresses_and_routes(call, prev, facts)
    }

    fn status(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        self.refuse_other_kind(call, facts).map_err(|e| Error::not_available(e.msg))
    }
}

impl Config {
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
    fn check_port(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        peer: Option<u32>,
    ) -> Result<(), Error> {
        let master = facts.link(Place::Host, &self.bridge).map(|b| b.index);
        let host_ends = prev.interfaces.iter().filter(|i| i.sandbox.is_empty());
        let found = host_ends
            .filter_map(|i| facts.host.links.iter().find(|l| l.name.as_str() == i.name))
            .any(|l| l.kind == "veth" && Some(l.index) == peer && l.master.is_some() && l.master == master);
        match found {
            true => Ok(()),
            false => Err(call.error(format!("CNI veth created for bridge {} was not found", self.bridge))),
        }
    }
}
