//! `spiderpool`: addresses from the cluster's pools, by way of the node agent (spec/spiderpool.md 4).
//!
//! The plugin keeps nothing itself. ADD asks the agent and translates its answer; what the agent wants probed is probed
//! while the interface is there (`detect`). DEL tells the agent; if it is away, the release waits in the journal, and the DEL succeeds.

mod answer;
mod config;
mod detect;
mod log;
mod master;
mod pod;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use polynic_cni::{Error, Invocation, Output, PluginConf, Success, Verb, Version};
use polynic_kernel::{Kernel, KernelError};
use polynic_wire::messages::{AddRequest, BatchDelRequest, DelRequest};
use polynic_wire::{AddressService, ServiceError};
use serde_json::json;

use crate::ipam::Ipam;
use crate::{Call, Context, Plugin};
use config::Config;
use detect::Waiting;
use log::{Level, Log};
use pod::Pod;

/// How long an ADD waits for its addresses (spec/spiderpool.md 4).
const ADD_PATIENCE: Duration = Duration::from_secs(100);

/// How long a DEL waits for the agent before the release goes to the journal.
const DEL_PATIENCE: Duration = Duration::from_secs(20);

/// How long STATUS waits for an answer.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// How long an ADD waits for an agent that is not there: about as long as a restart takes.
const RESTART_PATIENCE: Duration = Duration::from_secs(3);
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// Its type.
pub(crate) const TYPE: &str = "spiderpool";

/// What errors of ADD begin with.
const PREFIX: &str = "spiderpool IP allocation error";

/// The plugin.
pub struct Spiderpool;

impl Plugin for Spiderpool {
    fn plugin_type(&self) -> &'static str {
        TYPE
    }

    fn versions(&self) -> &'static [Version] {
        &[Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0]
    }

    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error> {
        let call = Call::new("spiderpool", invocation, conf)?;
        match verb {
            Verb::Add => add(context, &call).map(Output::Success).map_err(|e| call.explain(e.within(PREFIX))),
            Verb::Del => del(context, &call).map(|()| Output::Empty).map_err(|e| call.explain(e)),
            Verb::Status => status(context, &call).map(|()| Output::Empty),
            // CHECK succeeds always; what is stale is collected by the cluster, which knows of pods.
            Verb::Check | Verb::Gc | Verb::Version => Ok(Output::Empty),
        }
    }
}

impl Ipam for Spiderpool {
    fn has_to_settle(&self, context: &Context<'_>, call: &Call<'_>) -> bool {
        Waiting::is_there(context, call)
    }

    fn settle(&self, context: &Context<'_>, call: &Call<'_>, kernel: &mut dyn Kernel) -> Result<(), Error> {
        match Waiting::take(context, call) {
            Some(waiting) => {
                settle(context, call, kernel, &waiting).map_err(|e| call.explain(e.within(PREFIX)))
            }
            None => Ok(()),
        }
    }
}

fn add(context: &Context<'_>, call: &Call<'_>) -> Result<Success, Error> {
    let config = Config::read(call)?;
    let log = Log::open(&config.log, context.warn);
    let done = allocate(context, call, &config, &log);
    if let Err(error) = &done {
        log.line(Level::Error, &error.to_string(), &about(call));
    }
    done
}

fn allocate(context: &Context<'_>, call: &Call<'_>, config: &Config, log: &Log) -> Result<Success, Error> {
    let mut request = add_request(call, config, &Pod::strict(&call.invocation.args)?);
    let netns = &call.invocation.netns;
    // An address for a namespace that is not there would be nobody's.
    let mut kernel = context.door.open(Some(netns)).map_err(|e| Error::internal(e.to_string()))?;
    if config.match_master_subnet {
        let found = master::addresses(Path::new("/sys"), call, kernel.as_mut());
        request.master_addresses =
            Some(found.map_err(|why| Error::internal(format!("match_master_subnet: {why}")))?);
    }
    let deadline = Instant::now() + ADD_PATIENCE;
    let agent = context.addresses.at(&config.socket);
    wait_for(agent.as_ref(), deadline).map_err(|e| unhealthy(&e))?;
    log.line(Level::Debug, "asking for addresses", &json!(request));
    let response = agent.allocate(&request, deadline).map_err(|e| internal(&e))?;
    log.line(Level::Debug, "got addresses", &json!(response));
    let success = answer::success(&response, call.ifname.as_str()).map_err(Error::internal)?;
    let waiting = Waiting::new(&config.socket, &response, call.ifname.as_str());
    if detect::is_there(kernel.as_mut(), call).map_err(|e| Error::internal(e.to_string()))? {
        settle(context, call, kernel.as_mut(), &waiting)?;
        return Ok(success);
    }
    let unwritten = |e: std::io::Error| Error::internal(format!("cannot note what is to be probed: {e}"));
    waiting.store(context, call).map_err(unwritten)?;
    Ok(success)
}

/// Probes and announces. Addresses that will not do go back, though their pod lives: the next attempt gets others.
fn settle(
    context: &Context<'_>,
    call: &Call<'_>,
    kernel: &mut dyn Kernel,
    waiting: &Waiting,
) -> Result<(), Error> {
    let Err(found) = waiting.settle(kernel, call) else { return Ok(()) };
    if let Err(error) = give_back(context, call, &waiting.socket) {
        (context.warn)(&format!("cannot release addresses that failed a probe: {}", text(&error)));
    }
    Err(conflict(&found).unwrap_or_else(|| Error::internal(found.to_string())))
}

/// The error of an address that somebody else has, whoever found it (spec/coordinator.md 5.2).
fn conflict(found: &KernelError) -> Option<Error> {
    match found {
        KernelError::Conflict { .. } => Some(Error::internal(format!("ip conflict: {found}"))),
        KernelError::DadFailed { link, ip, mac: Some(mac) } => {
            let same = KernelError::Conflict { link: link.clone(), ip: *ip, mac: *mac };
            Some(Error::internal(format!("ip conflict: {same}")))
        }
        _ => None,
    }
}

/// How this plugin would say it where the kernel found a conflict first, as it does with IPv6 when the address is put on.
pub(crate) fn in_own_words(cause: &KernelError) -> Option<Error> {
    conflict(cause).map(|error| error.within(PREFIX))
}

fn add_request(call: &Call<'_>, config: &Config, pod: &Pod<'_>) -> AddRequest {
    AddRequest {
        container_id: call.container_id().to_owned(),
        if_name: call.ifname.to_string(),
        net_namespace: call.invocation.netns.clone(),
        pod_namespace: pod.namespace.to_owned(),
        pod_name: pod.name.to_owned(),
        pod_uid: pod.uid.to_owned(),
        default_ipv4_ippool: config.ipv4_pools.clone(),
        default_ipv6_ippool: config.ipv6_pools.clone(),
        clean_gateway: config.clean_gateway,
        match_master_subnet: config.match_master_subnet,
        master_addresses: None,
    }
}

/// An agent that is being replaced is back in a moment. One that answers, but badly, is not waited for.
fn wait_for(agent: &dyn AddressService, deadline: Instant) -> Result<(), ServiceError> {
    let give_up = deadline.min(Instant::now() + RESTART_PATIENCE);
    loop {
        match agent.healthy(deadline) {
            Err(ServiceError::Away { .. }) if Instant::now() < give_up => thread::sleep(RESTART_PAUSE),
            answer => return answer,
        }
    }
}

/// The release always succeeds as far as the runtime is concerned, unless it can neither be told nor written down.
fn del(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    // Whatever has become of the configuration or the arguments: what can be known is released.
    let config = Config::read(call).unwrap_or_default();
    Waiting::forget(context, call);
    let log = Log::open(&config.log, context.warn);
    let Some(request) = del_request(call) else { return Ok(()) };
    let deadline = Instant::now() + DEL_PATIENCE;
    let agent = context.addresses.at(&config.socket);
    let released = agent.healthy(deadline).and_then(|()| agent.release(&request, deadline));
    let Err(error) = released else {
        log.line(Level::Debug, "released", &json!(request));
        return Ok(());
    };
    let text = text(&error);
    log.line(Level::Error, &format!("the release was not taken: {text}"), &about(call));
    if request.is_detached {
        return Err(Error::internal(format!("the addresses of the interface are not given back: {text}")));
    }
    if !is_passing(&error) {
        return Ok(());
    }
    let unwritten = |e| Error::internal(format!("{text}, and {}", crate::drive::describe(&e)));
    context.releases.record(&request).map_err(unwritten)
}

/// Gives back the addresses of the interface, although the pod lives. Those of its other interfaces may be in use.
fn give_back(context: &Context<'_>, call: &Call<'_>, socket: &Path) -> Result<(), ServiceError> {
    let pod = Pod::lenient(&call.invocation.args);
    let request = BatchDelRequest {
        container_id: call.container_id().to_owned(),
        net_namespace: call.invocation.netns.clone(),
        pod_namespace: pod.namespace.to_owned(),
        pod_name: pod.name.to_owned(),
        pod_uid: pod.uid.to_owned(),
        if_name: call.ifname.to_string(),
        is_release_conflict_ips: false,
    };
    context.addresses.at(socket).release_batch(&request, Instant::now() + DEL_PATIENCE)
}

/// Tells the agent that an address of this pod turned out to be somebody else's, so that the next ADD gets another one. Nobody
/// is there to tell where the network's addresses come from elsewhere; the ADD has failed anyway.
pub(crate) fn report_conflict(context: &Context<'_>, call: &Call<'_>) {
    let pod = Pod::lenient(&call.invocation.args);
    if pod.name.is_empty() || pod.namespace.is_empty() {
        return;
    }
    match give_back(context, call, &Config::read(call).unwrap_or_default().socket) {
        Ok(()) | Err(ServiceError::Away { .. }) => {}
        Err(error) => (context.warn)(&format!("the conflict was not noted: {}", text(&error))),
    }
}

/// Nobody can have got an address without a pod's name.
fn del_request(call: &Call<'_>) -> Option<DelRequest> {
    let pod = Pod::lenient(&call.invocation.args);
    let named = !pod.name.is_empty() && !pod.namespace.is_empty();
    named.then(|| DelRequest {
        container_id: call.container_id().to_owned(),
        if_name: call.ifname.to_string(),
        net_namespace: call.invocation.netns.clone(),
        pod_namespace: pod.namespace.to_owned(),
        pod_name: pod.name.to_owned(),
        pod_uid: pod.uid.to_owned(),
        is_detached: pod::is_detached(&call.invocation.args),
    })
}

/// Whether the same release may be taken later: not if the agent called it wrong.
fn is_passing(error: &ServiceError) -> bool {
    !matches!(error, ServiceError::Status { code: 400..500, .. })
}

fn status(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    let not_available = |text: String| Error::not_available(format!("spiderpool: {text}"));
    let config = Config::read(call).map_err(|e| not_available(e.to_string()))?;
    let agent = context.addresses.at(&config.socket);
    agent.healthy(Instant::now() + STATUS_PATIENCE).map_err(|e| not_available(text(&e)))
}

fn about(call: &Call<'_>) -> serde_json::Value {
    json!({"for": call.whom(), "containerID": call.container_id()})
}

fn unhealthy(error: &ServiceError) -> Error {
    Error::internal(format!("spiderpool agent is not healthy: {}", text(error)))
}

fn internal(error: &ServiceError) -> Error {
    Error::internal(text(error))
}

fn text(error: &ServiceError) -> String {
    crate::drive::describe(error)
}

#[cfg(test)]
mod tests;
