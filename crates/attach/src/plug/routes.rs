//! Default routes of a running pod: an interface that is plugged in steals none, unless its element asks for it. What others give up for it
//! is noted with them first, so that exactly that comes back when it goes, or when its attachment fails.

use std::net::IpAddr;

use polynic_cni::cache::{Cache, Entry};
use polynic_cni::{Error, RuntimeConf, Success};

use super::{Following, result};
use crate::default_route;

impl Following<'_> {
    /// Makes the default routes right after an interface was attached.
    pub(super) fn route(&mut self, at: usize, conf: &RuntimeConf, result: &Success) -> Result<(), Error> {
        let Some(delegate) = self.delegates.get(at).cloned() else { return Ok(()) };
        if result.interfaces.is_empty() && result.ips.is_empty() {
            return Ok(());
        }
        if delegate.supplies_default_routes() {
            self.give_up(at)?;
        }
        default_route::apply(self.context.netns, &delegate, conf)?;
        self.edit_cache(at, default_route::hops(&delegate))
    }

    /// The default routes of all interfaces but one go.
    fn give_up(&mut self, to: usize) -> Result<(), Error> {
        let (netns, path) = (self.context.netns, self.invocation.netns.as_str());
        let others: Vec<usize> = (0..self.delegates.len()).filter(|at| *at != to).collect();
        for at in &others {
            let routes = netns.default_routes(path, &self.conf(*at).ifname)?;
            if let Some(delegate) = self.delegates.get_mut(*at) {
                delegate.given_up.extend(routes);
            }
        }
        self.write_scratch()?;
        for at in others {
            netns.delete_default_routes(path, &self.conf(at).ifname)?;
            self.edit_cache(at, &[])?;
        }
        Ok(())
    }

    /// The default routes come back after a network that supplied them went, or failed and is `left` behind: those of the last other one that
    /// supplies some, else everybody's.
    pub(super) fn give_back(&mut self, left: Option<usize>) -> Result<(), Error> {
        let supplies = |at: &usize| {
            Some(*at) != left && self.delegates.get(*at).is_some_and(|d| d.supplies_default_routes())
        };
        let supplier = (0..self.delegates.len()).rev().find(supplies);
        let who = supplier.map_or((0..self.delegates.len()).collect(), |at| vec![at]);
        let mut found = false;
        for at in who {
            found |= self.take_again(at);
        }
        let is_unknown = self.delegates.first().is_some_and(|d| d.origin.is_none());
        if supplier.is_none() && !found && is_unknown {
            self.guess_defaults();
        }
        self.write_scratch()
    }

    /// Puts back what an interface gave up, if anything.
    fn take_again(&mut self, at: usize) -> bool {
        let given_up =
            self.delegates.get_mut(at).map(|d| std::mem::take(&mut d.given_up)).unwrap_or_default();
        for route in &given_up {
            if let Err(why) = self.context.netns.restore_route(&self.invocation.netns, route) {
                self.context.log.error(&format!("restoring {route}: {why}"));
            }
        }
        let hops: Vec<IpAddr> = given_up.iter().filter_map(|route| route.gw).collect();
        if !given_up.is_empty()
            && let Err(why) = self.edit_cache(at, &hops)
        {
            self.context.log.error(&why.to_string());
        }
        !given_up.is_empty()
    }

    /// What the primary interface gave up is not known if another program took it: its network's result says what it may have been.
    fn guess_defaults(&self) {
        let primary = self.conf(0);
        for hop in self.cached(0).iter().flat_map(next_hops) {
            if let Err(why) = self.context.netns.add_default_route(&primary.netns, &primary.ifname, hop) {
                self.context.log.error(&format!("restoring the default route via {hop}: {why}"));
            }
        }
    }

    fn edit_cache(&self, at: usize, hops: &[IpAddr]) -> Result<(), Error> {
        let Some(delegate) = self.delegates.get(at) else { return Ok(()) };
        default_route::edit_cache(&Cache::new(&self.config.cni_dir), delegate, &self.conf(at), hops)
    }
}

/// Of the default routes, or if a result names none, of the addresses.
fn next_hops(entry: &Entry) -> Vec<IpAddr> {
    let Some(result) = result(entry) else { return Vec::new() };
    let defaults = result.routes.iter().filter(|route| route.dst.prefix_len() == 0);
    let routed: Vec<IpAddr> = defaults.filter_map(|route| route.gw).collect();
    if routed.is_empty() { result.ips.iter().filter_map(|ip| ip.gateway).collect() } else { routed }
}
