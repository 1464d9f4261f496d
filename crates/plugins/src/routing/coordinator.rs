//! `coordinator`: what `router` and `veth` are, told by the cluster which of them a pod needs (spec/coordinator.md 4).

mod config;
mod detect;
mod mode;
mod plan;
mod reply_path;
mod tune;

use std::path::Path;
use std::time::{Duration, Instant};

use polynic_cni::{Error, Success};
use polynic_net::{
    Attr, Change, Entropy, Facts, FwObject, IpNet, Needs, NsFacts, Object, Place, RpFilterNeed,
};
use polynic_wire::messages::PodIdentity;

use super::cable::{self, Cable};
use super::settings::DISABLE_IPV6;
use super::view::NodeNeeds;
use super::{args, view};
use crate::log::Options;
use crate::{Call, ChainedAttachment, ChainedPlugin, Context, Leftovers, Planned};
use config::{NetConf, Settings};

/// The plugin.
pub struct Coordinator;

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One call: what its configuration says, and after the agent was asked what is to be done.
struct Coordination {
    conf: NetConf,
    pod: PodIdentity,
    settings: Option<Settings>,
}

impl ChainedPlugin for Coordinator {
    fn plugin_type(&self) -> &'static str {
        "coordinator"
    }

    fn log(&self, call: &Call<'_>) -> Result<Option<Options>, Error> {
        Options::camel(call, "/var/log/spidernet/coordinator.log")
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        let (pod_namespace, pod_name) = args::pod(call)?;
        let conf = NetConf::read(call)?;
        let pod = PodIdentity { pod_namespace, pod_name };
        Ok(Box::new(Coordination { conf, pod, settings: None }))
    }

    fn leftovers_unread(&self, call: &Call<'_>) -> Leftovers {
        cable::leftovers(call)
    }
}

impl Coordination {
    fn settings(&self, call: &Call<'_>) -> Result<&Settings, Error> {
        self.settings.as_ref().ok_or_else(|| call.error("the node agent was not asked"))
    }

    fn node_needs(&self, needs: &mut Needs, call: &Call<'_>, facts: &Facts) {
        let Some(pod) = &facts.pod else { return };
        let addresses = view::usable_addresses(pod, &call.ifname);
        let table = self.settings.as_ref().map_or(self.conf.host_rule_table(), |s| s.host_rule_table);
        NodeNeeds { addresses: &addresses, table }.add(needs, facts);
    }

    /// Whether the plan may make a cable, and firewall rules for it. Only the first call for a pod on the underlay does.
    fn may_make_cable(&self, call: &Call<'_>) -> bool {
        self.settings.as_ref().is_none_or(|s| s.mode != config::Mode::Overlay && s.first_nic == call.ifname)
    }

    fn is_disabled(&self) -> bool {
        self.settings.as_ref().is_some_and(|s| s.mode == config::Mode::Disable)
    }
}

impl ChainedAttachment for Coordination {
    fn consult(&mut self, call: &Call<'_>, context: &Context<'_>) -> Result<(), Error> {
        let agent = context.addresses.at(Path::new(polynic_wire::DEFAULT_SOCKET));
        let answer = agent.coordinator_config(&self.pod, Instant::now() + PATIENCE);
        let answer = answer.map_err(|e| {
            call.error(format!("failed to GetCoordinatorConfig: {}", crate::drive::describe(&e)))
        })?;
        self.settings = Some(self.conf.merge(call, &answer)?);
        Ok(())
    }

    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, _: &Call<'_>, _: &Success) -> Needs {
        if self.is_disabled() {
            return Needs::default();
        }
        view::needs()
    }

    fn further_needs(&self, call: &Call<'_>, _: &Success, facts: &Facts) -> Needs {
        let mut needs = Needs::default();
        if !self.is_disabled() {
            self.node_needs(&mut needs, call, facts);
            if self.may_make_cable(call) {
                Cable::needs(call, &mut needs);
                needs.pod.firewall.push(reply_path::table());
            }
            let is_set = self.settings.as_ref().is_some_and(|s| s.rp_filter.is_some());
            needs.pod.rp_filter = is_set.then_some(RpFilterNeed::General);
            // Reading settings is slow; these matter for IPv6 alone.
            let has_ipv6 = |pod: &&NsFacts| {
                pod.addresses_of(&call.ifname).any(|a| a.net.addr().is_ipv6() && a.is_global())
            };
            let pod = facts.pod.iter().filter(has_ipv6);
            needs.pod.sysctls.extend(pod.flat_map(|pod| DISABLE_IPV6.keys(pod)));
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
        if self.is_disabled() {
            return Ok(super::nothing(prev));
        }
        plan::plan(self.settings(call)?, call, prev, facts, entropy)
    }

    fn leftover_needs(&self, _: &Call<'_>) -> Needs {
        let mut needs = Needs::default();
        needs.host.rules = true;
        needs
    }

    /// The cable, and the rules for the interface's addresses that older releases made.
    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        let mut leftovers = cable::leftovers(call);
        let prev = call.conf.prev_result().ok().flatten();
        let ips = prev.iter().flat_map(|prev| &prev.ips).map(|ip| ip.address.addr());
        let own: Vec<IpNet> = ips.map(view::single).collect();
        let table = self.conf.host_rule_table();
        let stale =
            facts.host.rules.iter().filter(|r| r.table == table && r.to.is_some_and(|to| own.contains(&to)));
        leftovers.changes.extend(stale.map(|rule| Change::delete_rule(Place::Host, rule.clone())));
        leftovers
    }

    fn refused(&self, call: &Call<'_>, change: &Change, cause: &str) -> Option<Error> {
        match &change.object {
            Object::Attr(attr) if matches!(attr.after, Attr::Mac(_)) => {
                let prefix = self.settings.as_ref().map(|s| s.mac_prefix_text.as_str()).unwrap_or_default();
                Some(call.error(config::refused_mac(call, prefix, cause)))
            }
            Object::Firewall(diff) if diff.after.as_ref().is_some_and(is_reply_path) => {
                Some(call.error(format!("failed to makeReplyPacketViaVeth: {cause}")))
            }
            _ => None,
        }
    }
}

fn is_reply_path(object: &FwObject) -> bool {
    *object.table() == reply_path::table()
}
