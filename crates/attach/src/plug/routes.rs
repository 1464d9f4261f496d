//! Default routes of a running pod: an interface that is plugged in steals none, unless its element asks for it; when it goes, those of the
//! primary interface come back.

use polynic_cni::cache::{Cache, Entry};
use polynic_cni::{Error, RuntimeConf, Success};
use std::net::IpAddr;

use super::{Following, result};
use crate::default_route;
use crate::delegate_conf::DelegateConf;

impl Following<'_> {
    /// Makes the default routes right after an interface was attached.
    pub(super) fn route(
        &self,
        delegate: &DelegateConf,
        conf: &RuntimeConf,
        result: &Success,
    ) -> Result<(), Error> {
        if result.interfaces.is_empty() && result.ips.is_empty() {
            return Ok(());
        }
        let netns = self.context.netns;
        let asks = delegate.request.default_route.as_ref().is_some_and(|hops| !hops.is_empty());
        if asks {
            for other in (0..self.delegates.len()).map(|at| self.conf(at).ifname) {
                netns.delete_default_routes(&conf.netns, &other)?;
            }
        }
        let done = default_route::apply(netns, delegate, conf);
        if done.is_err() && asks {
            self.restore_defaults();
        }
        done?;
        default_route::edit_cache(&Cache::new(&self.config.cni_dir), delegate, conf)
    }

    /// Gives the primary interface back the default routes that its network gave it.
    pub(super) fn restore_defaults(&self) {
        let primary = self.conf(0);
        for hop in self.cached(0).iter().flat_map(next_hops) {
            if let Err(why) = self.context.netns.add_default_route(&primary.netns, &primary.ifname, hop) {
                self.context.log.error(&format!("restoring the default route via {hop}: {why}"));
            }
        }
    }
}

/// Of the default routes, or if a result names none, of the addresses.
fn next_hops(entry: &Entry) -> Vec<IpAddr> {
    let Some(result) = result(entry) else { return Vec::new() };
    let defaults = result.routes.iter().filter(|route| route.dst.prefix_len() == 0);
    let routed: Vec<IpAddr> = defaults.filter_map(|route| route.gw).collect();
    if routed.is_empty() { result.ips.iter().filter_map(|ip| ip.gateway).collect() } else { routed }
}
