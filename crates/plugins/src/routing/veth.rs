//! `veth`: a cable to the node for a pod whose first interface is on the underlay (spec/coordinator.md 3).

mod plan;

use polynic_cni::{Error, Success};
use polynic_net::{Entropy, Facts, Needs, Probe, TABLE_MAIN};

use super::cable::Cable;
use super::keys::Keys;
use super::view::{self, NodeNeeds};
use super::{cable, cidr};
use crate::log::Options;
use crate::{Call, ChainedAttachment, ChainedPlugin, Leftovers, Planned};

/// The plugin.
pub struct Veth;

/// The configuration, read.
struct Config {
    keys: Keys,
    /// Up to the first bad entry.
    additional: Vec<polynic_net::IpNet>,
}

impl ChainedPlugin for Veth {
    fn plugin_type(&self) -> &'static str {
        "veth"
    }

    fn log(&self, call: &Call<'_>) -> Result<Option<Options>, Error> {
        Options::snake(call, "/var/log/meta-plugins/veth.log")
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        let keys = Keys::read(call)?;
        let additional = keys.additional.iter().map_while(|text| cidr::read(text).ok()).collect();
        Ok(Box::new(Config { keys, additional }))
    }

    fn leftovers_unread(&self, call: &Call<'_>) -> Leftovers {
        cable::leftovers(call)
    }
}

impl ChainedAttachment for Config {
    fn without_prev_result(&self) -> &'static str {
        "failed to find PrevResult, must be called as chained plugin"
    }

    fn shares(&self) -> bool {
        true
    }

    fn probes(&self, call: &Call<'_>, prev: &Success) -> Result<Vec<Probe>, Error> {
        self.keys.probes(call, prev)
    }

    fn needs(&self, _: &Call<'_>, _: &Success) -> Needs {
        if self.keys.skip_call { Needs::default() } else { view::needs() }
    }

    fn further_needs(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Needs {
        let mut needs = Needs::default();
        if !self.keys.skip_call {
            let addresses: Vec<_> = prev.ips.iter().map(|ip| ip.address).collect();
            NodeNeeds { addresses: &addresses, table: TABLE_MAIN }.add(&mut needs, facts);
            needs.host.sources.extend(prev.ips.iter().map(|ip| ip.address.addr()));
            self.keys.setting_needs(&mut needs, facts, &addresses);
            Cable::needs(call, &mut needs);
        }
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        if self.keys.skip_call {
            return Ok(super::nothing(prev));
        }
        plan::plan(self, call, prev, facts, entropy)
    }

    fn leftovers(&self, call: &Call<'_>, _: &Facts) -> Leftovers {
        cable::leftovers(call)
    }
}
