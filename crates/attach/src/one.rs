//! One network of a running pod: attached and detached beside those that it has (spec/multus.md 13.6, spec/dynamic-networks.md).
//!
//! The result cache is written, the scratch cache and the status are not: that is for who knows the whole of the pod.

use polynic_api::PodEvent;
use polynic_cni::result::go_net;
use polynic_cni::{Error, Invocation, RuntimeConf, Success};

use crate::add::pod_text;
use crate::cluster::{Patience, PodRef};
use crate::config::Config;
use crate::context::Context;
use crate::delegate_conf::DelegateConf;
use crate::pod_args::PodArgs;
use crate::runtime_conf::Call;

/// Which network of which pod; the interface is that of the invocation.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    /// The call about the pod.
    pub invocation: &'a Invocation,
    /// Where caches and plugins are.
    pub config: &'a Config,
    /// The network.
    pub delegate: &'a DelegateConf,
}

/// Attaches the network. On an error nothing of it is left.
///
/// # Errors
/// There is no such pod, the interface exists, or a plugin fails.
pub fn add(context: &Context<'_>, network: Network<'_>) -> Result<Success, Error> {
    let args = PodArgs::parse(&network.invocation.args, context.forward)?;
    existing(context, &args.pod())?;
    let conf = network.call(&args).add_conf(1, network.delegate);
    let plain = |why: Error| why.within(format!("Multus: [{}]", pod_text(&args.pod())));
    if context.netns.has_interface(&conf.netns, &conf.ifname).map_err(plain)? {
        return Err(plain(Error::internal(format!("interface name {} already exists", conf.ifname))));
    }
    let runtime = context.runtime(network.invocation, network.config);
    let list = &network.delegate.list;
    let result = runtime.add_list(list, &conf).map_err(|why| {
        if let Err(left) = runtime.del_list(list, &conf) {
            context.log.error(&format!("undoing {}: {left}", list.name));
        }
        let step = format!(
            "[{}:{}]: error adding container to network {:?}",
            pod_text(&args.pod()),
            list.name,
            list.name
        );
        why.within(step)
    })?;
    tell_added(context, &args.pod(), network.delegate, &conf, &result);
    Ok(result)
}

/// Tells the pod what it got.
pub(crate) fn tell_added(
    context: &Context<'_>,
    pod: &PodRef,
    delegate: &DelegateConf,
    conf: &RuntimeConf,
    result: &Success,
) {
    if result.interfaces.is_empty() && result.ips.is_empty() {
        return;
    }
    let addresses: Vec<String> = result.ips.iter().map(|ip| go_net(ip.address)).collect();
    context.tell(pod, &PodEvent::added_interface(&conf.ifname, &addresses, &delegate.display_name));
}

/// Detaches the network.
///
/// # Errors
/// There is no such pod, or a plugin fails.
pub fn del(context: &Context<'_>, network: Network<'_>) -> Result<(), Error> {
    let args = PodArgs::parse(&network.invocation.args, context.forward)?;
    existing(context, &args.pod())?;
    let conf = network.call(&args).conf(1, network.delegate);
    let runtime = context.runtime(network.invocation, network.config);
    let deleted = runtime.del_list(&network.delegate.list, &conf);
    deleted.map_err(|why| why.within(format!("[{}:{}]", pod_text(&args.pod()), network.delegate.list.name)))
}

/// Checks the network.
///
/// # Errors
/// A plugin finds something else than it promised.
pub fn check(context: &Context<'_>, network: Network<'_>) -> Result<(), Error> {
    let args = PodArgs::parse(&network.invocation.args, context.forward)?;
    let conf = network.call(&args).conf(1, network.delegate);
    let runtime = context.runtime(network.invocation, network.config);
    let checked = runtime.check_list(&network.delegate.list, &conf);
    checked.map_err(|why| why.within(format!("[{}:{}]", pod_text(&args.pod()), network.delegate.list.name)))
}

/// Asks whether the network could be attached.
///
/// # Errors
/// The plugin's answer as it is.
pub fn status(context: &Context<'_>, network: Network<'_>) -> Result<(), Error> {
    context.runtime(network.invocation, network.config).status_list(&network.delegate.list)
}

/// Without an API server every pod is taken on trust.
fn existing(context: &Context<'_>, pod: &PodRef) -> Result<(), Error> {
    let Some(cluster) = context.cluster else { return Ok(()) };
    let found = cluster.pod(pod, Patience::Patient).map_err(|why| Error::internal(why.to_string()))?;
    match found.filter(|info| info.is(pod)) {
        Some(_) => Ok(()),
        None => Err(Error::internal(format!("pod {}/{} is not there", pod.namespace, pod.name))),
    }
}

impl<'a> Network<'a> {
    fn call<'c>(&self, args: &'c PodArgs) -> Call<'c>
    where
        'a: 'c,
    {
        let Config { runtime_config, device_files, .. } = self.config;
        Call { invocation: self.invocation, args, supplied: runtime_config, device_files }
    }
}
