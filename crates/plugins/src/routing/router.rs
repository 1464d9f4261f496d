//! `router`: a pod's newest interface keeps the default route; the one before gives way to a table of its own
//! (spec/coordinator.md 2).

mod plan;

use polynic_cni::{Error, Success, Version};
use polynic_net::{Entropy, Facts, IfName, Needs, Probe};
use serde::Deserialize;

use super::keys::Keys;
use super::view::{self, NodeNeeds};
use crate::log::Options;
use crate::{Call, ChainedAttachment, ChainedPlugin, Planned};

/// The plugin.
pub struct Router;

/// The keys that only `router` has.
#[derive(Deserialize)]
#[serde(default)]
struct Own {
    overlay_interface: String,
    host_rule_table: Option<i64>,
    sriov: bool,
}

impl Default for Own {
    fn default() -> Self {
        Self { overlay_interface: "eth0".into(), host_rule_table: None, sriov: false }
    }
}

/// The configuration, read.
struct Config {
    keys: Keys,
    additional: Vec<polynic_net::IpNet>,
    overlay_interface: IfName,
    host_rule_table: u32,
    sriov: bool,
}

const HOST_RULE_TABLE: u32 = 500;

impl ChainedPlugin for Router {
    fn plugin_type(&self) -> &'static str {
        "router"
    }

    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    fn log(&self, call: &Call<'_>) -> Result<Option<Options>, Error> {
        Options::snake(call, "/var/log/meta-plugins/router.log")
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        let keys = Keys::read(call)?;
        let own: Own = call.conf.read()?;
        let additional = super::cidr::read_all(&keys.additional).map_err(|e| call.error(e))?;
        let name = if own.overlay_interface.is_empty() { "eth0" } else { &own.overlay_interface };
        let overlay_interface =
            IfName::new(name).map_err(|e| call.error(format!("invalid overlay_interface: {e}")))?;
        let host_rule_table = super::table_number(call, "host_rule_table", own.host_rule_table)?;
        Ok(Box::new(Config {
            keys,
            additional,
            overlay_interface,
            host_rule_table: host_rule_table.unwrap_or(HOST_RULE_TABLE),
            sriov: own.sriov,
        }))
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

    fn further_needs(&self, _: &Call<'_>, prev: &Success, facts: &Facts) -> Needs {
        let mut needs = Needs::default();
        if !self.keys.skip_call {
            let addresses: Vec<_> = prev.ips.iter().map(|ip| ip.address).collect();
            NodeNeeds { addresses: &addresses, table: self.host_rule_table }.add(&mut needs, facts);
            self.keys.setting_needs(&mut needs, facts, &addresses);
        }
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        _: &mut Entropy,
    ) -> Result<Planned, Error> {
        if self.keys.skip_call {
            return Ok(super::nothing(prev));
        }
        plan::plan(self, call, prev, facts)
    }
}
