//! `macvlan`: a station of its own on the wire of a parent link (spec/plugins.md 1.2).

use polynic_cni::{Error, Interface, Success};
use polynic_net::{
    Change, Entropy, Facts, IfName, Link, LinkFact, LinkKind, LinkRef, Macvlan as MacvlanKind, MacvlanMode,
    Needs, Place, Plan,
};
use serde::Deserialize;

use crate::addressing::{self, Announce};
use crate::interfaces::{default_route_link, default_route_needs, refuse_taken_name};
use crate::mac::{self, Sources};
use crate::{Attacher, Attachment, Call, Leftovers, Planned, prev};

/// The plugin.
pub struct Macvlan;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    master: String,
    mode: String,
    mtu: i64,
    #[serde(rename = "linkInContainer")]
    link_in_container: bool,
    bcqueuelen: u32,
}

struct MacvlanAttachment {
    /// Absent: the link of the default route.
    master: Option<IfName>,
    master_place: Place,
    mode: MacvlanMode,
    /// 0: the parent's.
    mtu: i64,
    bc_queue_len: Option<u32>,
}

impl Attacher for Macvlan {
    fn plugin_type(&self) -> &'static str {
        "macvlan"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let config: Config = call.conf.read()?;
        let master = match config.master.as_str() {
            "" => None,
            name => Some(IfName::new(name).map_err(|e| call.error(format!("invalid master {name:?}: {e}")))?),
        };
        Ok(Box::new(MacvlanAttachment {
            master,
            master_place: if config.link_in_container { Place::Pod } else { Place::Host },
            mode: mode(&config.mode)
                .ok_or_else(|| call.error(format!("unknown macvlan mode: {:?}", config.mode)))?,
            mtu: config.mtu,
            bc_queue_len: (config.bcqueuelen != 0).then_some(config.bcqueuelen),
        }))
    }
}

fn mode(name: &str) -> Option<MacvlanMode> {
    match name {
        "" | "bridge" => Some(MacvlanMode::Bridge),
        "private" => Some(MacvlanMode::Private),
        "vepa" => Some(MacvlanMode::Vepa),
        "passthru" => Some(MacvlanMode::Passthru),
        _ => None,
    }
}

impl MacvlanAttachment {
    fn master<'f>(&self, call: &Call<'_>, facts: &'f Facts) -> Result<&'f LinkFact, Error> {
        let name = match &self.master {
            Some(name) => name.clone(),
            None => default_route_link(call, facts, self.master_place)?,
        };
        let missing = || call.error(format!("failed to look up master {:?}: Link not found", name.as_str()));
        facts.link(self.master_place, &name).ok_or_else(missing)
    }

    /// 0 to the parent's MTU.
    fn mtu(&self, call: &Call<'_>, master: &LinkFact) -> Result<Option<u32>, Error> {
        match u32::try_from(self.mtu) {
            Ok(0) => Ok(None),
            Ok(mtu) if mtu <= master.mtu => Ok(Some(mtu)),
            _ => {
                Err(call.error(format!("invalid MTU {}, must be [0, master MTU({})]", self.mtu, master.mtu)))
            }
        }
    }

    fn link(&self, call: &Call<'_>, facts: &Facts, entropy: &mut Entropy) -> Result<Link, Error> {
        let master = self.master(call, facts)?;
        let requested = mac::requested(call, Sources { config_key: true, cni_args_object: false })?;
        // A passthru station takes over its parent's address (drivers/net/macvlan.c, macvlan_common_newlink).
        let chosen = match self.mode {
            MacvlanMode::Passthru => master.mac,
            _ => Some(entropy.mac()),
        };
        let parent = LinkRef { place: self.master_place, name: master.name.clone() };
        let kind =
            LinkKind::Macvlan(MacvlanKind { parent, mode: self.mode, bc_queue_len: self.bc_queue_len });
        let mtu = self.mtu(call, master)?;
        Ok(Link { name: call.ifname.clone(), kind, mac: requested.or(chosen), mtu })
    }
}

impl Attachment for MacvlanAttachment {
    fn needs(&self, call: &Call<'_>, ipam: Option<&Success>) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        match &self.master {
            Some(master) => needs.at_mut(self.master_place).link(master),
            None => default_route_needs(&mut needs, self.master_place),
        }
        if let Some(result) = ipam {
            addressing::needs(&mut needs, result);
        }
        needs
    }

    fn preflight(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        let master = self.master(call, facts)?;
        self.mtu(call, master)?;
        mac::requested(call, Sources { config_key: true, cni_args_object: false })?;
        refuse_taken_name(call, facts)
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        ipam: Option<&Success>,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        refuse_taken_name(call, facts)?;
        let link = self.link(call, facts, entropy)?;
        let mac = link.mac.map(|m| m.to_string()).unwrap_or_default();
        let mut plan = Plan::default();
        plan.own(Change::create_link(Place::Pod, link));
        let mut result = ipam.map(|r| addressing::on_interface(r, 0)).unwrap_or_default();
        let sandbox = call.invocation.netns.clone();
        result.interfaces =
            vec![Interface { name: call.ifname.to_string(), mac, sandbox, ..Interface::default() }];
        result.dns = call.conf.dns.clone();
        match ipam {
            Some(_) => addressing::configure(&mut plan, call, facts, &result, Announce::ByFamily)?,
            None => plan.own(Change::up(Place::Pod, &call.ifname)),
        }
        Ok(Planned { plan, result })
    }

    fn leftovers(&self, call: &Call<'_>, _facts: &Facts) -> Leftovers {
        Leftovers::interface(call)
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        self.master(call, facts)?;
        let link = prev::interface(call, prev, facts, "macvlan")?;
        if link.macvlan_mode != Some(self.mode) {
            return Err(call.error(format!(
                "container macvlan mode {:?} does not match {:?}",
                link.macvlan_mode, self.mode
            )));
        }
        prev::addresses_and_routes(call, prev, facts)
    }

    fn status(&self, call: &Call<'_>, facts: &Facts) -> Result<(), Error> {
        // A master inside the pod can only be judged with a pod.
        if self.master_place == Place::Pod {
            return Ok(());
        }
        let master = self.master(call, facts).map_err(|e| Error::not_available(e.msg))?;
        match master.up {
            true => Ok(()),
            false => Err(Error::not_available(format!("master {} is down", master.name))),
        }
    }
}
