//! ADD (spec/multus.md 8.1): every delegate in order, or none at all.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use polynic_api::device_info::DeviceInfo;
use polynic_api::{NetworkStatus, PodEvent, annotation, status};
use polynic_cni::cache::{Cache, Key};
use polynic_cni::result::go_net;
use polynic_cni::{Error, Interface, Invocation, Ip, Runtime, RuntimeConf, Success, Version, code};
use polynic_net::Route;

use crate::cause;
use crate::cluster::{Patience, PodInfo, PodRef, StatusError};
use crate::config::Config;
use crate::context::Context;
use crate::default_route;
use crate::delegate_conf::DelegateConf;
use crate::devices;
use crate::pod_args::PodArgs;
use crate::readiness;
use crate::rows::rows;
use crate::runtime_conf::{Call, missing_capabilities};
use crate::scratch::Scratch;
use crate::select::{self, SelectError};

mod guarding;
mod undo;

use guarding::Guarding;
use undo::Undo;

/// Attaches a pod to all its networks and answers with the result of the first.
///
/// On an error everything that was done is undone in reverse order, and the pod gets an Event with the cause.
pub fn add(context: &Context<'_>, invocation: &Invocation, config: &Config) -> Result<Success, Error> {
    let args = PodArgs::parse(&invocation.args, context.forward)?;
    let attempt = Attempt { context, invocation, config, pod: args.pod(), args: &args };
    let done = attempt.run();
    if let Err(failure) = &done {
        context.log.error(&failure.error.to_string());
        context.tell(&attempt.pod, &failure.event);
    }
    context.flush();
    done.map_err(|failure| failure.error)
}

/// Why an ADD failed, and what its pod is told.
struct Failure {
    error: Error,
    event: PodEvent,
}

struct Attempt<'a> {
    context: &'a Context<'a>,
    invocation: &'a Invocation,
    config: &'a Config,
    args: &'a PodArgs,
    pod: PodRef,
}

/// What one delegate answered.
struct Attached {
    result: Success,
    interface: String,
    display_name: String,
    device: Option<DeviceInfo>,
    /// Default routes that its interface lost to another one.
    given_up: Vec<Route>,
}

impl Attached {
    fn rows(&self, is_master: bool) -> Vec<NetworkStatus> {
        let mut rows = rows(&self.result, &self.display_name, is_master);
        rows.iter_mut().for_each(|row| row.device_info.clone_from(&self.device));
        rows
    }
}

enum Found {
    Pod(PodInfo),
    NobodyToAsk,
    Gone,
}

impl Attempt<'_> {
    fn run(&self) -> Result<Success, Failure> {
        let ready = readiness::wait(self.config.readiness_file.as_deref(), self.context.readiness);
        ready.map_err(|why| self.failure(why))?;
        let pod = match self.find_pod()? {
            Found::Pod(pod) => Some(pod),
            Found::NobodyToAsk => None,
            Found::Gone => return Ok(self.placeholder()),
        };
        let mut delegates = self.delegates(pod.as_ref()).map_err(|why| self.selection_failure(&why))?;
        self.assign_devices(&mut delegates, pod.as_ref())?;
        let warnings = self.capability_warnings(&delegates)?;
        let scratch = Scratch::new(&self.config.cni_dir, &self.invocation.container_id);
        let mut undo = Undo::new(scratch).map_err(|why| self.failure(why))?;
        let mut guarding = Guarding::new(self.context.guard, &self.pod, self.invocation);
        let attached = self.attach_guarded(&delegates, &mut undo, &mut guarding).and_then(|attached| {
            self.write_status(pod.as_ref(), &attached)?;
            Ok(attached)
        });
        match attached {
            Ok(attached) => Ok(self.finish(attached, &warnings)),
            Err(failure) => {
                undo.run(&self.runtime(), self.call(), &delegates, self.context.log);
                guarding.release();
                Err(failure)
            }
        }
    }

    fn find_pod(&self) -> Result<Found, Failure> {
        let Some(cluster) = self.context.cluster.filter(|_| !self.pod.name.is_empty()) else {
            return Ok(Found::NobodyToAsk);
        };
        let answer = cluster.pod(&self.pod, Patience::Patient);
        let pod = answer.map_err(|why| self.failure(Error::internal(why.to_string())))?;
        let Some(pod) = pod else { return Ok(Found::Gone) };
        if !pod.is(&self.pod) {
            let (wanted, found) = (&self.pod.uid, &pod.uid);
            let text = format!("expected pod UID {wanted:?} but got {found:?} from Kube API");
            return Err(self.failure(Error::internal(text)));
        }
        Ok(Found::Pod(pod))
    }

    /// The pod is gone before it was attached: the runtime gets a result that says nothing, and will delete it.
    fn placeholder(&self) -> Success {
        self.context.log.verbose(|| format!("pod {} is gone, nothing is attached", self.pod_text()));
        let nowhere =
            Ip { gateway: Some(Ipv4Addr::UNSPECIFIED.into()), ..Ip::new(Ipv4Net::default().into()) };
        let interface = Interface {
            name: self.invocation.ifname.clone(),
            sandbox: self.invocation.netns.clone(),
            ..Interface::default()
        };
        Success {
            cni_version: Version::or_oldest(&self.config.cni_version).unwrap_or(Version::NEWEST),
            interfaces: vec![interface],
            ips: vec![nowhere],
            ..Success::default()
        }
    }

    fn delegates(&self, pod: Option<&PodInfo>) -> Result<Vec<DelegateConf>, SelectError> {
        let mut delegates = select::delegates(self.config, self.context.cluster, pod)?;
        delegates.extend(select::auxiliary(self.config)?);
        Ok(delegates)
    }

    fn assign_devices(&self, delegates: &mut [DelegateConf], pod: Option<&PodInfo>) -> Result<(), Failure> {
        let notes = devices::assign(delegates, self.context.cluster, pod)
            .map_err(|why| self.failure(Error::internal(cause::chain(&why))))?;
        notes.iter().for_each(|note| self.context.log.error(note));
        Ok(())
    }

    /// What the pod asks for and no plugin declares: an error if the configuration is strict, else an Event.
    fn capability_warnings(&self, delegates: &[DelegateConf]) -> Result<Vec<PodEvent>, Failure> {
        let mut warnings = Vec::new();
        for (index, delegate) in delegates.iter().enumerate() {
            let missing = missing_capabilities(delegate);
            let interface = delegate.interface_at(index, &self.invocation.ifname);
            if !delegate.resource_name.is_empty() && delegate.request.device_id.is_empty() {
                let (network, resource) = (&delegate.display_name, &delegate.resource_name);
                warnings.push(PodEvent::missing_device(network, &interface, resource));
            }
            if missing.is_empty() {
                continue;
            }
            let event = PodEvent::missing_capability(&delegate.display_name, &interface, &missing);
            if self.config.strict_capabilities {
                return Err(self.failure(Error::internal(event.message)));
            }
            warnings.push(event);
        }
        Ok(warnings)
    }

    /// The rules come before the links and go after them.
    fn attach_guarded(
        &self,
        delegates: &[DelegateConf],
        undo: &mut Undo,
        guarding: &mut Guarding<'_>,
    ) -> Result<Vec<Attached>, Failure> {
        let unguarded = |why: Error| self.failure(why.within("network policies are not in force"));
        guarding.before(delegates).map_err(unguarded)?;
        let attached = self.attach(delegates, undo)?;
        guarding.after(&attached).map_err(unguarded)?;
        Ok(attached)
    }

    fn attach(&self, delegates: &[DelegateConf], undo: &mut Undo) -> Result<Vec<Attached>, Failure> {
        let before = undo.named_before();
        self.clear(&before);
        let delegates = &self.with_given_up(delegates, &before);
        undo.write_scratch(delegates).map_err(|why| self.failure(why))?;
        let mut attached = Vec::with_capacity(delegates.len());
        for (index, delegate) in delegates.iter().enumerate() {
            let conf = self.call().add_conf(index, delegate);
            let done = self.attach_one(index, delegate, &conf, undo);
            attached.push(done.map_err(|why| self.delegate_failure(delegate, &conf, why))?);
        }
        self.note_given_up(delegates, &attached, undo)?;
        Ok(attached)
    }

    /// Takes back what an ADD of this container left that was killed on its way: networks that the scratch file named before, and that have
    /// no result. So a repeated ADD converges. What cannot be taken back shows when the network is attached.
    fn clear(&self, before: &[DelegateConf]) {
        for (index, earlier) in before.iter().enumerate().rev() {
            let conf = self.call().conf(index, earlier);
            if self.is_attached(earlier, &conf) {
                continue;
            }
            if let Err(why) = self.runtime().del_list(&earlier.list, &conf) {
                self.context.log.error(&format!("taking back {}: {why}", earlier.display_name));
            }
        }
    }

    /// The same delegates with what their interfaces gave up in an earlier ADD of the container: a repeated one finds these routes gone already.
    fn with_given_up(&self, delegates: &[DelegateConf], before: &[DelegateConf]) -> Vec<DelegateConf> {
        let primary = &self.invocation.ifname;
        let earlier = |index: usize, delegate: &DelegateConf| {
            let interface = delegate.interface_at(index, primary);
            let is_same = |(at, other): &(usize, &DelegateConf)| {
                other.list.name == delegate.list.name && other.interface_at(*at, primary) == interface
            };
            before.iter().enumerate().find(is_same).map(|(_, other)| other.given_up.clone())
        };
        let mut delegates = delegates.to_vec();
        for (index, delegate) in delegates.iter_mut().enumerate() {
            let given_up = earlier(index, delegate).unwrap_or_default();
            if given_up.is_empty() || delegate.supplies_default_routes() {
                continue;
            }
            if self.is_attached(delegate, &self.call().conf(index, delegate)) {
                delegate.given_up = given_up;
            }
        }
        delegates
    }

    /// They come back if the network that took their place is unplugged.
    fn note_given_up(
        &self,
        delegates: &[DelegateConf],
        attached: &[Attached],
        undo: &Undo,
    ) -> Result<(), Failure> {
        let others = || delegates.iter().zip(attached).filter(|(d, _)| !d.supplies_default_routes());
        if others().all(|(_, attached)| attached.given_up.is_empty()) {
            return Ok(());
        }
        let noted = delegates.iter().zip(attached).map(|(delegate, attached)| {
            let is_news = !delegate.supplies_default_routes() && !attached.given_up.is_empty();
            let given_up = if is_news { &attached.given_up } else { &delegate.given_up }.clone();
            DelegateConf { given_up, ..delegate.clone() }
        });
        undo.write_scratch(&noted.collect::<Vec<_>>()).map_err(|why| self.failure(why))
    }

    fn attach_one(
        &self,
        index: usize,
        delegate: &DelegateConf,
        conf: &RuntimeConf,
        undo: &mut Undo,
    ) -> Result<Attached, Error> {
        let netns = self.context.netns;
        if netns.has_interface(&conf.netns, &conf.ifname)? {
            // A repeated ADD converges: the plugin knows its own interface again, and keeps it if this ADD fails.
            if !self.is_attached(delegate, conf) {
                return Err(Error::internal(format!("interface name {} already exists", conf.ifname)));
            }
        } else {
            undo.started(index);
        }
        let device_files = &self.config.device_files;
        device_files.copy(delegate, conf).unwrap_or_else(|why| self.context.log.error(&why));
        let result = self.runtime().add_list(&delegate.list, conf)?;
        let device = device_files.read(conf);
        self.log_added(delegate, conf, &result);
        let has_anything = !result.interfaces.is_empty() || !result.ips.is_empty();
        let mut given_up = Vec::new();
        if has_anything && default_route::concerns(delegate) {
            given_up = netns.default_routes(&conf.netns, &conf.ifname)?;
            default_route::apply(netns, delegate, conf)?;
            let cache = Cache::new(&self.config.cni_dir);
            default_route::edit_cache(&cache, delegate, conf, default_route::hops(delegate))?;
        }
        let (interface, display_name) = (conf.ifname.clone(), delegate.display_name.clone());
        Ok(Attached { result, interface, display_name, device, given_up })
    }

    /// Did an earlier ADD of this very attachment succeed?
    fn is_attached(&self, delegate: &DelegateConf, conf: &RuntimeConf) -> bool {
        let cache = Cache::new(&self.config.cni_dir);
        let key =
            Key { network: &delegate.list.name, container_id: &conf.container_id, ifname: &conf.ifname };
        cache.read(key).ok().flatten().is_some_and(|entry| entry.netns == conf.netns)
    }

    fn write_status(&self, pod: Option<&PodInfo>, attached: &[Attached]) -> Result<(), Failure> {
        let rows = attached.iter().enumerate().flat_map(|(index, attached)| attached.rows(index == 0));
        let rows: Vec<NetworkStatus> = rows.collect();
        let Some(cluster) = self.context.cluster.filter(|_| pod.is_some() && !rows.is_empty()) else {
            return Ok(());
        };
        let text = status::print(&rows);
        let keys =
            [annotation::NETWORK_STATUS, annotation::NETWORKS_STATUS_LEGACY].map(|key| (key, text.as_str()));
        let keys = if self.config.legacy_status_key { &keys[..] } else { &keys[..1] };
        match cluster.set_pod_annotations(&self.pod, keys) {
            Err(StatusError::NotFound(pod)) => {
                self.context.log.error(&format!("pod {pod} is gone, its network status is not written"));
                Ok(())
            }
            Err(why) => {
                let text = format!("error setting the networks status: {}", cause::chain(&why));
                Err(self.failure(Error::internal(text)))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Tells the pod what it has, and the runtime what the master answered.
    fn finish(&self, attached: Vec<Attached>, warnings: &[PodEvent]) -> Success {
        for attached in &attached {
            let Attached { result, interface, display_name, .. } = attached;
            if !result.interfaces.is_empty() || !result.ips.is_empty() {
                let addresses: Vec<String> = result.ips.iter().map(|ip| go_net(ip.address)).collect();
                let event = PodEvent::added_interface(interface, &addresses, display_name);
                self.context.tell(&self.pod, &event);
            }
        }
        for warning in warnings {
            self.context.tell(&self.pod, warning);
        }
        attached.into_iter().next().map(|master| master.result).unwrap_or_default()
    }

    fn runtime(&self) -> Runtime<'_> {
        self.context.runtime(self.invocation, self.config)
    }

    fn call(&self) -> Call<'_> {
        let Config { runtime_config, device_files, .. } = self.config;
        Call { invocation: self.invocation, args: self.args, supplied: runtime_config, device_files }
    }

    fn log_added(&self, delegate: &DelegateConf, conf: &RuntimeConf, result: &Success) {
        self.context.log.verbose(|| {
            let printed = result.to_value(result.cni_version).unwrap_or_default();
            let (display, name) = (&delegate.display_name, &delegate.list.name);
            format!("Add: {}:{display}({name}):{} {printed}", self.pod_text().replace('/', ":"), conf.ifname)
        });
    }

    fn pod_text(&self) -> String {
        pod_text(&self.pod)
    }

    fn failure(&self, why: Error) -> Failure {
        let error = as_plain(why).within(format!("Multus: [{}]", self.pod_text()));
        Failure { event: PodEvent::add_failed(&error.to_string()), error }
    }

    fn selection_failure(&self, why: &SelectError) -> Failure {
        let failure = self.failure(Error::internal(cause::chain(why)));
        match why.missing_nad() {
            Some((name, namespace, cause)) => {
                Failure { event: PodEvent::no_network_found(name, namespace, cause), ..failure }
            }
            None => failure,
        }
    }

    fn delegate_failure(&self, delegate: &DelegateConf, conf: &RuntimeConf, why: Error) -> Failure {
        let (name, display) = (&delegate.list.name, &delegate.display_name);
        let step = format!("[{}:{name}]: error adding container to network {name:?}", self.pod_text());
        let mut error = as_plain(why).within(step);
        error.msg.push_str(&format!(" (network {display}, interface {})", conf.ifname));
        Failure { event: PodEvent::add_failed(&error.to_string()), error }
    }
}

/// `namespace/name/uid`.
pub(crate) fn pod_text(pod: &PodRef) -> String {
    format!("{}/{}/{}", pod.namespace, pod.name, pod.uid)
}

/// Whatever a delegate's number was, this call's is 999; only "try again later" means the same here.
fn as_plain(why: Error) -> Error {
    let code = if why.code == code::TRY_AGAIN_LATER { why.code } else { code::INTERNAL };
    Error { code, ..why }
}

#[cfg(test)]
mod tests;
