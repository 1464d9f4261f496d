//! `dhcp`: addresses from a DHCP server of the network, by way of the DHCP daemon (spec/plugins.md 2.3). The daemon may be ours or the
//! replaced one.
//!
//! The interface must be there before ADD: see `ipam::works_on_link`. DEL works without the daemon, from what it keeps on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use polynic_cni::{Error, Invocation, Output, PluginConf, Verb};
use polynic_dhcp::daemon;
use polynic_dhcp::rpc::client::{CallError, Daemon};
use polynic_dhcp::rpc::{Arguments, DEFAULT_SOCKET};
use serde::Deserialize;

use crate::ipam::Ipam;
use crate::{Call, Context, Plugin};

/// Its type.
pub(crate) const TYPE: &str = "dhcp";

/// How long an answer is waited for: longer than the daemon tries to get a lease by default (208 s).
const PATIENCE: Duration = Duration::from_secs(240);

/// The daemon's directory below that of volatile state.
const STATE: &str = "dhcp";

/// The plugin.
pub struct Dhcp;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    #[serde(rename = "daemonSocketPath")]
    socket: PathBuf,
}

impl Ipam for Dhcp {}

impl Plugin for Dhcp {
    fn plugin_type(&self) -> &'static str {
        TYPE
    }

    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error> {
        let call = Call::new(TYPE, invocation, conf)?;
        let answer = match verb {
            Verb::Add => add(&call),
            Verb::Del => del(context, &call).map(|()| Output::Empty),
            Verb::Check => check(&call).map(|()| Output::Empty),
            Verb::Status => status(&call).map(|()| Output::Empty),
            Verb::Gc => gc(context, &call).map(|()| Output::Empty),
            Verb::Version => Ok(Output::Empty),
        };
        answer.map_err(|e| call.explain(e))
    }
}

fn add(call: &Call<'_>) -> Result<Output, Error> {
    let arguments = arguments(call)?;
    dial(call)?.allocate(&arguments).map(Output::Success).map_err(internal)
}

/// CHECK asks whether there is a lease, and never gets one.
fn check(call: &Call<'_>) -> Result<(), Error> {
    let arguments = arguments(call)?;
    dial(call)?.check(&arguments).map_err(internal)
}

fn status(call: &Call<'_>) -> Result<(), Error> {
    dial(call).map(drop).map_err(|e| Error::not_available(e.msg))
}

/// Without a daemon, or with one that ends meanwhile, the server is told from here.
fn del(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    let arguments = arguments(call)?;
    let released = Daemon::dial(&socket(call), PATIENCE).and_then(|mut daemon| daemon.release(&arguments));
    match released {
        Err(CallError::Dial(_) | CallError::Connection(..)) => {
            daemon::release_alone(&context.state.join(STATE), context.door, &arguments)
                .map_err(Error::internal)
        }
        released => released.map_err(internal),
    }
}

/// Releases the leases of this network whose attachments are not listed.
fn gc(context: &Context<'_>, call: &Call<'_>) -> Result<(), Error> {
    let Some(valid) = call.conf.valid_attachments()? else { return Ok(()) };
    let is_valid = |id: &str, ifname: &str| valid.iter().any(|a| a.container_id == id && a.ifname == ifname);
    let kept = daemon::kept(&context.state.join(STATE), call.network());
    for (container_id, ifname) in kept.into_iter().filter(|(id, ifname)| !is_valid(id, ifname)) {
        let invocation = Invocation { container_id, ifname, ..call.invocation.clone() };
        del(context, &Call::new(TYPE, &invocation, call.conf)?)?;
    }
    Ok(())
}

fn dial(call: &Call<'_>) -> Result<Daemon, Error> {
    Daemon::dial(&socket(call), PATIENCE).map_err(internal)
}

/// DEL must get past whatever has become of the configuration.
fn socket(call: &Call<'_>) -> PathBuf {
    let keys: Keys =
        call.conf.ipam().and_then(|ipam| polynic_cni::json::from_map(ipam).ok()).unwrap_or_default();
    if keys.socket.as_os_str().is_empty() { DEFAULT_SOCKET.into() } else { keys.socket }
}

fn arguments(call: &Call<'_>) -> Result<Arguments, Error> {
    let invocation = call.invocation;
    // The daemon has another working directory.
    let netns = match invocation.netns.as_str() {
        "" => PathBuf::new(),
        path => std::path::absolute(Path::new(path))
            .map_err(|e| Error::internal(format!("failed to make {path:?} an absolute path: {e}")))?,
    };
    Ok(Arguments {
        container_id: invocation.container_id.clone(),
        netns: netns.to_string_lossy().into_owned(),
        ifname: invocation.ifname.clone(),
        args: invocation.args.clone(),
        path: invocation.path.clone(),
        stdin: invocation.stdin.clone(),
    })
}

fn internal(error: CallError) -> Error {
    Error::internal(error.to_string())
}
