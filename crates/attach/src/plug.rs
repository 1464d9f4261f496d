//! Networks of a running pod follow its annotation (spec/dynamic-networks.md).
//!
//! What a pod has is in the scratch cache, in which hot-plugged networks stand like all others: a DEL of the pod deletes them with the
//! configuration of their ADD, whoever does it and whatever became of their NADs. [`steps`] decides what to change, purely; [`follow`]
//! does it, network by network: whatever fails is taken back for that network alone, and the others go on.
//!
//! A network that is in the scratch cache without a cached result was not attached to its end (or was detached): it is deleted, and
//! attached anew if the pod still wants it. So a crash at any point is mended by following once more.

use std::collections::BTreeSet;
use std::io;

use polynic_api::{NetworkStatus, PodEvent, SelectionElement, annotation, status};
use polynic_cni::cache::{Cache, Entry, Key};
use polynic_cni::{Error, Invocation, RuntimeConf, Success, Version};
use polynic_wire::messages::DETACHED;
use serde_json::Value;

use crate::add::pod_text;
use crate::cause;
use crate::cluster::{PodInfo, PodRef, StatusError};
use crate::config::Config;
use crate::container_lock::ContainerLock;
use crate::context::Context;
use crate::delegate_conf::{DelegateConf, Origin};
use crate::guard::{GuardedNetwork, Sandbox};
use crate::one;
use crate::pod_args::PodArgs;
use crate::rows::rows;
use crate::runtime_conf::Call;
use crate::scratch::Scratch;
use crate::select;

mod plan;
mod routes;

pub use plan::{Addition, Held, Rejection, Steps, steps};

/// How following went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The container has a sandbox that was attached; without one there is nothing to follow.
    pub is_attached: bool,
    /// Something did not work that may work later.
    pub try_again: bool,
}

/// Makes the networks of a running pod those of its annotation. `invocation` names its sandbox, `config` where caches and plugins are.
///
/// # Errors
/// The scratch cache cannot be read or written: nothing is known then. What goes wrong with a single network is an Event, and in the answer.
pub fn follow(
    context: &Context<'_>,
    invocation: &Invocation,
    config: &Config,
    pod: &PodInfo,
) -> Result<Followed, Error> {
    let scratch = Scratch::new(&config.cni_dir, &invocation.container_id);
    let plain = |why: &dyn std::error::Error| Error::internal(cause::chain(why));
    let lock = ContainerLock::take(&config.cni_dir, &invocation.container_id, context.lock);
    let lock = lock.map_err(|why| match why.kind() {
        io::ErrorKind::TimedOut => Error::try_again(why.to_string()),
        _ => plain(&why),
    })?;
    let Some(delegates) = scratch.read().map_err(|why| plain(&why))? else {
        // It was deleted before it was our turn.
        return Ok(Followed::default());
    };
    let args = PodArgs::parse(&invocation.args, context.forward)?;
    if !pod.is(&args.pod()) {
        // The sandbox is another pod's of this name: what is known of the pod is older, or younger.
        return Ok(Followed::default());
    }
    let named = delegates.into_iter().enumerate().map(|(index, delegate)| named(index, delegate, invocation));
    let following = Following {
        context,
        invocation,
        config,
        pod,
        of: args.pod(),
        args: &args,
        scratch,
        delegates: named.collect(),
        try_again: false,
        has_changed: false,
        plugged: BTreeSet::new(),
    };
    following.obey(lock)
}

/// Interfaces keep their names whatever becomes of the list.
fn named(index: usize, mut delegate: DelegateConf, invocation: &Invocation) -> DelegateConf {
    if index > 0 {
        delegate.request.interface = delegate.interface_at(index, &invocation.ifname);
    }
    delegate
}

/// Why a network that names a resource cannot be attached.
enum NoDevice {
    /// None is left for it, until the pod is made anew.
    Left(String),
    /// Nobody says which the pod has.
    Known(String),
}

struct Following<'a> {
    context: &'a Context<'a>,
    invocation: &'a Invocation,
    config: &'a Config,
    pod: &'a PodInfo,
    of: PodRef,
    args: &'a PodArgs,
    scratch: Scratch,
    /// What the scratch cache says.
    delegates: Vec<DelegateConf>,
    try_again: bool,
    /// Something was attached or taken away, or this was tried.
    has_changed: bool,
    /// Network and interface of what was attached.
    plugged: BTreeSet<(String, String)>,
}

impl Following<'_> {
    /// Makes the networks those of the annotation while the lock is held, and then writes the status.
    fn obey(mut self, lock: Option<ContainerLock>) -> Result<Followed, Error> {
        let wanted = match select::networks(self.config, self.pod) {
            Ok(wanted) => wanted,
            // Nothing is changed by an annotation that makes no sense; it has to be edited again.
            Err(why) => {
                self.tell(&PodEvent::add_interface_failed(&cause::chain(&why)));
                return Ok(Followed { is_attached: true, try_again: false });
            }
        };
        let order = self.run(&wanted)?;
        // A DEL does not wait for the API server: neither one of the shim, nor one of the agent, which makes `context.cluster` give up.
        drop(lock);
        self.write_status(&order);
        Ok(Followed { is_attached: true, try_again: self.try_again })
    }

    /// Network and interface of what the pod has then, in the order of the annotation.
    fn run(&mut self, wanted: &[SelectionElement]) -> Result<Vec<(String, String)>, Error> {
        let selected: Vec<usize> = (0..self.delegates.len()).filter(|at| self.is_ruled(*at)).collect();
        let held: Vec<Held> = selected.iter().map(|at| self.held(*at)).collect();
        let others = (0..self.delegates.len()).filter(|at| !selected.contains(at));
        let taken: Vec<String> = others.map(|at| self.conf(at).ifname).collect();
        let steps = steps(wanted, &held, &taken);
        for rejection in &steps.rejected {
            self.tell(&PodEvent::interface_rejected(&self.name(), &rejection.network, &rejection.why));
        }
        // From behind, so that places in the list stay what they are.
        for at in steps.remove.iter().rev().filter_map(|at| selected.get(*at)) {
            self.remove(*at)?;
        }
        for addition in &steps.add {
            self.add(addition)?;
        }
        Ok(steps.order)
    }

    /// Whether the annotation rules a delegate: not one of the configuration at the time of its ADD, whatever the configuration is now. Of
    /// what another program attached that is not known; the first is never the pod's.
    fn is_ruled(&self, at: usize) -> bool {
        let Some(delegate) = self.delegates.get(at) else { return false };
        let auxiliary = &self.config.auxiliary_chain;
        let is_auxiliary = !auxiliary.is_empty() && delegate.display_name == *auxiliary;
        match delegate.origin {
            Some(origin) => origin == Origin::Selected,
            None => at > 0 && !is_auxiliary,
        }
    }

    fn held(&self, at: usize) -> Held {
        let interface = self.conf(at).ifname;
        let delegate = self.delegates.get(at);
        let network = delegate.map(|d| d.display_name.clone()).unwrap_or_default();
        let may_go = delegate.is_some_and(|d| d.origin.is_some());
        Held { network, interface, is_complete: !may_go || self.cached(at).is_some(), may_go }
    }

    fn conf(&self, at: usize) -> RuntimeConf {
        self.delegates.get(at).map(|delegate| self.call().conf(at, delegate)).unwrap_or_default()
    }

    fn cached(&self, at: usize) -> Option<Entry> {
        let (delegate, conf) = (self.delegates.get(at)?, self.conf(at));
        let key =
            Key { network: &delegate.list.name, container_id: &conf.container_id, ifname: &conf.ifname };
        Cache::new(&self.config.cni_dir).read(key).ok().flatten()
    }

    fn remove(&mut self, at: usize) -> Result<(), Error> {
        let Some(delegate) = self.delegates.get(at).cloned() else { return Ok(()) };
        let (conf, was_complete) = (detached(self.conf(at)), self.cached(at).is_some());
        let runtime = self.context.runtime(self.invocation, self.config);
        if let Err(why) = runtime.del_list(&delegate.list, &conf) {
            self.try_again = true;
            let event = PodEvent::remove_interface_failed(
                &self.name(),
                &conf.ifname,
                &delegate.display_name,
                &why.to_string(),
            );
            self.tell(&event);
            return Ok(());
        }
        if let Err(why) = self.config.device_files.remove(&conf) {
            self.context.log.error(&why);
        }
        self.delegates.remove(at);
        self.write_scratch()?;
        if delegate.supplies_default_routes() {
            self.give_back(None)?;
        }
        self.guard_again();
        self.has_changed = true;
        if was_complete {
            self.tell(&PodEvent::removed_interface(&self.name(), &conf.ifname, &delegate.display_name));
        }
        Ok(())
    }

    fn add(&mut self, addition: &Addition) -> Result<(), Error> {
        let delegate = match select::one(self.config, self.context.cluster, &addition.element) {
            Ok(delegate) => delegate,
            Err(why) => {
                self.add_failed(addition, &cause::chain(&why));
                return Ok(());
            }
        };
        let delegate = match self.with_device(delegate) {
            Ok(delegate) => delegate,
            Err(NoDevice::Left(why)) => {
                self.tell(&PodEvent::interface_rejected(&self.name(), &addition.network(), &why));
                return Ok(());
            }
            Err(NoDevice::Known(why)) => {
                self.add_failed(addition, &why);
                return Ok(());
            }
        };
        match self.context.netns.has_interface(&self.invocation.netns, &addition.interface) {
            Ok(false) => {}
            Ok(true) => {
                let why = format!("interface name {} already exists", addition.interface);
                self.tell(&PodEvent::interface_rejected(&self.name(), &addition.network(), &why));
                return Ok(());
            }
            Err(why) => {
                self.add_failed(addition, &why.to_string());
                return Ok(());
            }
        }
        self.attach(addition, delegate)
    }

    /// A running pod has the devices that it was started with; a network that comes takes one that none of its networks has.
    fn with_device(&self, delegate: DelegateConf) -> Result<DelegateConf, NoDevice> {
        let resource = delegate.resource_name.clone();
        if resource.is_empty() {
            return Ok(delegate);
        }
        let taken: Vec<&str> = self.delegates.iter().map(|other| other.request.device_id.as_str()).collect();
        let cluster = self.context.cluster;
        let devices = cluster.map(|cluster| cluster.devices(self.pod)).transpose();
        let devices = devices.map_err(|why| NoDevice::Known(cause::chain(&why)))?.unwrap_or_default();
        let id = devices.free(&resource, &taken).ok_or_else(|| {
            NoDevice::Left(format!("the pod was started with no further device of resource {resource}"))
        })?;
        delegate.with_device(&id).map_err(|why| NoDevice::Left(cause::chain(&why)))
    }

    /// The scratch cache first, so that a DEL knows of it whatever happens to us.
    fn attach(&mut self, addition: &Addition, delegate: DelegateConf) -> Result<(), Error> {
        let at = self.delegates.len();
        self.delegates.push(delegate.clone());
        self.write_scratch()?;
        let conf = self.call().add_conf(at, &delegate);
        self.config.device_files.copy(&delegate, &conf).unwrap_or_else(|why| self.context.log.error(&why));
        let runtime = self.context.runtime(self.invocation, self.config);
        let attached = self.protect().and_then(|()| {
            let result = runtime.add_list(&delegate.list, &conf)?;
            self.route(at, &conf, &result)?;
            Ok(result)
        });
        self.has_changed = true;
        match attached {
            Ok(result) => {
                self.plugged.insert((delegate.display_name.clone(), conf.ifname.clone()));
                one::tell_added(self.context, &self.of, &delegate, &conf, &result);
                Ok(())
            }
            Err(why) => self.take_back(addition, at, &conf, &why),
        }
    }

    fn take_back(
        &mut self,
        addition: &Addition,
        at: usize,
        conf: &RuntimeConf,
        why: &Error,
    ) -> Result<(), Error> {
        let Some(delegate) = self.delegates.get(at).cloned() else { return Ok(()) };
        let runtime = self.context.runtime(self.invocation, self.config);
        match runtime.del_list(&delegate.list, &detached(conf.clone())) {
            // It stays in the scratch cache for the next try, or for the pod's DEL.
            Err(left) => {
                self.context.log.error(&format!("undoing {}: {left}", delegate.display_name));
                if delegate.supplies_default_routes() {
                    self.give_back(Some(at))?;
                }
            }
            Ok(()) => {
                self.config.device_files.remove(conf).unwrap_or_else(|why| self.context.log.error(&why));
                self.delegates.remove(at);
                self.write_scratch()?;
                if delegate.supplies_default_routes() {
                    self.give_back(None)?;
                }
            }
        }
        self.guard_again();
        self.add_failed(addition, &why.to_string());
        Ok(())
    }

    fn add_failed(&mut self, addition: &Addition, why: &str) {
        self.try_again = true;
        let (network, interface) = (addition.network(), &addition.interface);
        self.tell(&PodEvent::add_interface_failed(&format!(
            "pod {}: interface {interface}, network {network}: {why}",
            self.name()
        )));
    }

    /// Policies of what the pod will have then: asked before the first packet can pass.
    fn protect(&self) -> Result<(), Error> {
        let networks = self.guarded();
        let Some(guard) = self.context.guard.filter(|_| !networks.is_empty()) else { return Ok(()) };
        let sandbox = Sandbox {
            pod: &self.of,
            container_id: &self.invocation.container_id,
            netns: &self.invocation.netns,
            networks: &networks,
        };
        guard.protect(&sandbox).map_err(|why| why.within("network policies are not in force"))
    }

    /// Rules about an interface that is gone hurt nobody: if they cannot be taken back now, the next change does.
    fn guard_again(&self) {
        if let Err(why) = self.protect() {
            self.context.log.error(&why.to_string());
        }
    }

    fn guarded(&self) -> Vec<GuardedNetwork> {
        let secondary = self.delegates.iter().enumerate().skip(1);
        let network = |(at, delegate): (usize, &DelegateConf)| GuardedNetwork {
            name: delegate.display_name.clone(),
            interface: self.call().conf(at, delegate).ifname,
        };
        secondary.map(network).collect()
    }

    fn write_scratch(&self) -> Result<(), Error> {
        self.scratch.write(&self.delegates).map_err(|why| Error::internal(cause::chain(&why)))
    }

    /// Rows that are there stay as they are, but for those of networks that came just now; new ones come from results. What is there is as old
    /// as the last look, so a round that changed anything writes in any case. In the order: configured networks, the annotation's, the rest.
    fn write_status(&mut self, order: &[(String, String)]) {
        let current = self.pod.annotations.get(annotation::NETWORK_STATUS).map_or("", String::as_str);
        let there = status::parse(current).unwrap_or_default();
        let mut places: Vec<usize> = (0..self.delegates.len()).collect();
        places.sort_by_key(|at| {
            let Held { network, interface, .. } = self.held(*at);
            let place = order.iter().position(|known| *known == (network.clone(), interface.clone()));
            (self.is_ruled(*at), place.unwrap_or(order.len()), *at)
        });
        let rows: Vec<NetworkStatus> = places.iter().flat_map(|at| self.rows(*at, &there)).collect();
        let text = status::print(&rows);
        let is_due = (self.has_changed || rows != there) && !rows.is_empty();
        let Some(cluster) = self.context.cluster.filter(|_| is_due) else {
            return;
        };
        let keys =
            [annotation::NETWORK_STATUS, annotation::NETWORKS_STATUS_LEGACY].map(|key| (key, text.as_str()));
        let keys = if self.config.legacy_status_key { &keys[..] } else { &keys[..1] };
        match cluster.set_pod_annotations(&self.of, keys) {
            Ok(()) | Err(StatusError::NotFound(_) | StatusError::OtherPod { .. }) => {}
            Err(why) => {
                self.try_again = true;
                self.context.log.error(&format!("error setting the networks status: {}", cause::chain(&why)));
            }
        }
    }

    fn rows(&self, at: usize, there: &[NetworkStatus]) -> Vec<NetworkStatus> {
        let (Some(delegate), Some(entry)) = (self.delegates.get(at), self.cached(at)) else {
            return Vec::new();
        };
        let device = self.config.device_files.read(&self.conf(at));
        let computed = result(&entry).map(|result| rows(&result, &delegate.display_name, at == 0));
        let same = |row: &NetworkStatus| {
            let key = (row.name.clone(), row.interface.clone());
            let is_new = self.plugged.contains(&key);
            let known =
                there.iter().find(|old| !is_new && old.name == row.name && old.interface == row.interface);
            known.cloned().unwrap_or_else(|| NetworkStatus { device_info: device.clone(), ..row.clone() })
        };
        computed.unwrap_or_default().iter().map(same).collect()
    }

    fn call(&self) -> Call<'_> {
        let Config { runtime_config, device_files, .. } = self.config;
        Call { invocation: self.invocation, args: self.args, supplied: runtime_config, device_files }
    }

    fn tell(&self, event: &PodEvent) {
        self.context.tell(&self.of, event);
    }

    fn name(&self) -> String {
        let text = pod_text(&self.of);
        text.rsplit_once('/').map_or(text.clone(), |(name, _)| name.to_owned())
    }
}

/// Tells IPAM plugins that the pod lives on: they may keep what a pod has until it ends.
fn detached(mut conf: RuntimeConf) -> RuntimeConf {
    conf.args.push((DETACHED.to_owned(), "true".to_owned()));
    conf
}

/// A cached result.
fn result(entry: &Entry) -> Option<Success> {
    let text = Value::Object(entry.result.clone()).to_string();
    Success::parse(text.as_bytes(), Version::V0_1_0).ok()
}

#[cfg(test)]
mod tests;
