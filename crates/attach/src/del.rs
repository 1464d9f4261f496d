//! DEL (spec/multus.md 8.2): from what is on disk, in reverse order, whatever else is gone.

use polynic_cni::cache::{Cache, Entry};
use polynic_cni::{ConfList, Error, Invocation, Runtime, RuntimeConf};

use crate::add::pod_text;
use crate::cause;
use crate::cluster::{Patience, PodInfo};
use crate::config::Config;
use crate::container_lock::ContainerLock;
use crate::context::Context;
use crate::delegate_conf::DelegateConf;
use crate::devices;
use crate::pod_args::PodArgs;
use crate::runtime_conf::Call;
use crate::scratch::Scratch;
use crate::select;

/// Detaches a pod from all its networks. Nothing known about it is success; so is an API server that does not answer.
///
/// Every delegate is tried; an error has what each of them said.
pub fn del(context: &Context<'_>, invocation: &Invocation, config: &Config) -> Result<(), Error> {
    note_readiness(context, config);
    let args = PodArgs::parse(&invocation.args, context.forward).unwrap_or_else(|why| {
        context.log.error(&format!("CNI_ARGS: {why}"));
        PodArgs::default()
    });
    // A lock that cannot be had must not keep anything alive.
    let _lock =
        ContainerLock::take(&config.cni_dir, &invocation.container_id, context.lock).unwrap_or_else(|why| {
            context.log.error(&format!("no lock of {}: {why}", invocation.container_id));
            None
        });
    let detaching = Detaching { context, invocation, config, args: &args };
    let errors = detaching.delete_all(detaching.known());
    let joined = format!("errors: {}", errors.join(" / "));
    if errors.is_empty() || !config.retry_delete_on_error || joined.contains("no such file or directory") {
        detaching.forget();
    }
    if errors.is_empty() {
        return Ok(());
    }
    let error = Error::internal(format!("Multus: [{}]: {joined}", pod_text(&args.pod())));
    context.log.error(&error.to_string());
    Err(error)
}

/// A default network that is not ready does not keep anything from being deleted.
fn note_readiness(context: &Context<'_>, config: &Config) {
    if let Some(file) = config.readiness_file.as_ref().filter(|file| !file.exists()) {
        context.log.error(&format!("readinessindicatorfile @ {} is missing, going on", file.display()));
    }
}

struct Detaching<'a> {
    context: &'a Context<'a>,
    invocation: &'a Invocation,
    config: &'a Config,
    args: &'a PodArgs,
}

/// One delegate to delete.
struct Deletion {
    delegate: DelegateConf,
    conf: RuntimeConf,
}

impl Detaching<'_> {
    /// What the container got: by the scratch cache, else by the cached results, else by what its pod would get now.
    fn known(&self) -> Vec<Deletion> {
        let delegates = match self.scratch().read() {
            Ok(Some(delegates)) => delegates,
            Ok(None) => return self.by_results().unwrap_or_else(|| self.rebuilt()),
            Err(why) => {
                self.context.log.error(&cause::chain(&why));
                return self.by_results().unwrap_or_else(|| self.at_least_configured());
            }
        };
        let mut known = self.in_order(delegates.into_iter().map(|delegate| self.with_version(delegate)));
        self.complete(&mut known);
        self.with_forgotten(known)
    }

    /// Results of the container that the scratch file does not name: single networks that a hot-plug controller attached. They came last.
    fn with_forgotten(&self, mut known: Vec<Deletion>) -> Vec<Deletion> {
        let is_known = |found: &Deletion| {
            known.iter().any(|deletion| {
                deletion.delegate.list.name == found.delegate.list.name
                    && deletion.conf.ifname == found.conf.ifname
            })
        };
        let mut found = self.by_results().unwrap_or_default();
        found.retain(|found| !is_known(found));
        known.extend(found);
        known
    }

    fn in_order(&self, delegates: impl Iterator<Item = DelegateConf>) -> Vec<Deletion> {
        let call = self.call();
        delegates
            .enumerate()
            .map(|(index, delegate)| Deletion { conf: call.conf(index, &delegate), delegate })
            .collect()
    }

    /// Lists of old releases lost keys on their way into the scratch file; the result cache has them whole, each under its interface.
    fn complete(&self, known: &mut [Deletion]) {
        let entries =
            Cache::new(&self.config.cni_dir).list(Some(&self.invocation.container_id)).unwrap_or_default();
        for Deletion { delegate, conf } in known.iter_mut().filter(|deletion| deletion.delegate.is_list) {
            let of_same = |entry: &&Entry| entry.network == delegate.list.name && entry.ifname == conf.ifname;
            let cached = entries.iter().find(of_same);
            let cached = cached.and_then(|entry| DelegateConf::from_bytes(&entry.config).ok());
            let whole = cached.filter(|other| types(&other.list) == types(&delegate.list));
            if let Some(whole) = whole {
                delegate.list = self.with_version(whole).list;
            }
        }
    }

    /// A list without a version has that of our own configuration.
    fn with_version(&self, delegate: DelegateConf) -> DelegateConf {
        if !delegate.is_list || !delegate.list.cni_version.is_empty() {
            return delegate;
        }
        let list = ConfList { cni_version: self.config.cni_version.clone(), ..delegate.list };
        DelegateConf { list, ..delegate }
    }

    /// Results outlive a lost or broken scratch file, and say everything that is needed. The primary interface comes first.
    fn by_results(&self) -> Option<Vec<Deletion>> {
        let entries = Cache::new(&self.config.cni_dir).list(Some(&self.invocation.container_id)).ok()?;
        let mut entries: Vec<Entry> = entries;
        entries.sort_by_key(|entry| (entry.ifname != self.invocation.ifname, entry.ifname.clone()));
        let deletions: Vec<Deletion> =
            entries.into_iter().filter_map(|entry| self.by_result(entry)).collect();
        Some(deletions).filter(|deletions| !deletions.is_empty())
    }

    fn by_result(&self, entry: Entry) -> Option<Deletion> {
        let delegate = DelegateConf::from_bytes(&entry.config).ok()?;
        let conf = RuntimeConf {
            container_id: entry.container_id,
            netns: self.invocation.netns.clone(),
            ifname: entry.ifname,
            args: entry.args,
            capability_args: entry.capability_args,
        };
        Some(Deletion { delegate: self.with_version(delegate), conf })
    }

    /// Without any cache: what the pod would get now, if it is known; without its NADs at least the configured delegates.
    fn rebuilt(&self) -> Vec<Deletion> {
        let Some(pod) = self.pod() else { return Vec::new() };
        let (config, cluster) = (self.config, self.context.cluster);
        let bare = PodInfo { annotations: Default::default(), ..pod.clone() };
        let delegates = select::delegates(config, cluster, Some(&pod))
            .or_else(|_| select::delegates(config, cluster, Some(&bare)));
        match delegates {
            Ok(mut delegates) => {
                // A plugin whose device is not known any more still knows the interface.
                if let Err(why) = devices::assign(&mut delegates, cluster, Some(&pod)) {
                    self.context.log.error(&cause::chain(&why));
                }
                self.in_order(delegates.into_iter())
            }
            Err(why) => {
                self.context.log.error(&format!("failed to get delegates: {}", cause::chain(&why)));
                Vec::new()
            }
        }
    }

    /// A broken file says that the container was attached. If nothing says to what, what every pod has goes at least: after a power cut that may be an
    /// address that nobody else would ever give back.
    fn at_least_configured(&self) -> Vec<Deletion> {
        let rebuilt = self.rebuilt();
        if !rebuilt.is_empty() {
            return rebuilt;
        }
        let configured = select::delegates(self.config, self.context.cluster, None);
        let configured = configured.inspect_err(|why| {
            self.context.log.error(&format!("failed to get delegates: {}", cause::chain(why)));
        });
        self.in_order(configured.unwrap_or_default().into_iter())
    }

    fn pod(&self) -> Option<PodInfo> {
        let pod = self.args.pod();
        let cluster = self.context.cluster.filter(|_| !pod.name.is_empty())?;
        let answer = cluster.pod(&pod, Patience::Brief).unwrap_or_else(|why| {
            self.context.log.error(&format!("{why}, going on without the pod"));
            None
        });
        answer.filter(|info| info.is(&pod))
    }

    /// From last to first; what went wrong, in that order.
    fn delete_all(&self, deletions: Vec<Deletion>) -> Vec<String> {
        let runtime = self.context.runtime(self.invocation, self.config);
        let delete = |deletion| {
            let deleted = self.delete(&runtime, deletion);
            self.config
                .device_files
                .remove(&deletion.conf)
                .unwrap_or_else(|why| self.context.log.error(&why));
            deleted.err()
        };
        deletions.iter().rev().filter_map(delete).collect()
    }

    fn delete(&self, runtime: &Runtime<'_>, deletion: &Deletion) -> Result<(), String> {
        let Deletion { delegate, conf } = deletion;
        self.context.log.verbose(|| {
            let (pod, name) = (pod_text(&self.args.pod()).replace('/', ":"), &delegate.list.name);
            format!("Del: {pod}:{name}:{} {}", conf.ifname, String::from_utf8_lossy(&delegate.list.bytes))
        });
        let list = self.callable(runtime, deletion);
        if list.plugins.is_empty() {
            return Ok(());
        }
        runtime.del_list(&list, conf).map_err(|why| {
            if delegate.is_list {
                format!("DelegateDel: error invoking ConflistDel - {:?}: {why}", delegate.list.name)
            } else {
                format!("DelegateDel: error invoking DelegateDel - {:?}: {why}", delegate.plugin_type())
            }
        })
    }

    /// The plugins to call. Where no result is cached ADD did not come to its end, and a plugin that cannot be found has done nothing
    /// that waits for it; one that a completed ADD has called is insisted on.
    fn callable(&self, runtime: &Runtime<'_>, Deletion { delegate, conf }: &Deletion) -> ConfList {
        let mut list = delegate.list.clone();
        if runtime.cached_result(&list, conf).is_ok_and(|cached| cached.is_some()) {
            return list;
        }
        list.plugins.retain(|plugin| match self.context.delegate.find(&plugin.plugin_type, &runtime.path) {
            Ok(()) => true,
            Err(why) => {
                self.context
                    .log
                    .error(&format!("nothing to delete of network {:?}: {why}", delegate.list.name));
                false
            }
        });
        list
    }

    fn forget(&self) {
        if let Err(why) = self.scratch().remove() {
            self.context.log.error(&cause::chain(&why));
        }
    }

    fn scratch(&self) -> Scratch {
        Scratch::new(&self.config.cni_dir, &self.invocation.container_id)
    }

    fn call(&self) -> Call<'_> {
        let Config { runtime_config, device_files, .. } = self.config;
        Call { invocation: self.invocation, args: self.args, supplied: runtime_config, device_files }
    }
}

fn types(list: &ConfList) -> Vec<&str> {
    list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect()
}

#[cfg(test)]
mod tests;
