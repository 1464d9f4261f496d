//! The command lines `multi-networkpolicy-nftables` and `multi-networkpolicy-iptables`, whichever a DaemonSet calls: both get the same.

use polynic_cni::cause::chain;
use polynic_runtime::configuration::Environment;

use super::{Config, service};
use crate::error::{CommandError, Failure};
use crate::part::{Part, Stage, Surroundings};

/// The replaced program that is in use.
pub const NAME: &str = "multi-networkpolicy-nftables";
/// The one before it.
pub const OLD_NAME: &str = "multi-networkpolicy-iptables";

pub(crate) const USAGE: &str = "multi-networkpolicy-nftables [--network-plugins=TYPE,...] [--accept-icmp] [--accept-icmpv6] [--hostname-override=NODE] [--kubeconfig=FILE] [--socket=PATH] [--state-dir=DIR] [--cni-cache-dirs=DIR,...]
  --network-plugins     act only on networks whose first plugin is of one of these types; without it on all
  --accept-icmp[v6]     let all of ICMP (ICMPv6) pass
  --hostname-override   the node's name; otherwise NODE_NAME, or the host's name
  --socket, --state-dir, --cni-cache-dirs
                        where attachments ask, where is kept what they told, where CNI keeps its caches
  --host-prefix, --container-runtime-endpoint, --pod-iptables, --pod-rules
                        of the replaced programs: accepted, not needed";

/// It has no configuration file that could lie anywhere: whoever wants it names it.
pub(crate) fn is_configured() -> bool {
    false
}

/// Reads flags and environment.
///
/// # Errors
/// A flag is not understood, or the name of the node is not known.
pub fn part(words: &[String], environment: Environment<'_>) -> Result<Part, CommandError> {
    let node = ["NODE_NAME", "K8S_NODE", "SPIDERPOOL_NODE_NAME"].iter().find_map(|name| environment(name));
    let wrong = |why| CommandError::Config { service: NAME, why: chain(&why), code: 1 };
    let config = Config::read(words, node.or_else(host_name)).map_err(wrong)?;
    Ok(Part {
        name: NAME,
        stage: Stage::Last,
        kubeconfig: config.kubeconfig.clone(),
        log_level: String::new(),
        run: Box::new(|surroundings| Box::pin(run(config, surroundings))),
    })
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

async fn run(config: Config, surroundings: Surroundings) -> Result<(), Failure> {
    let client = surroundings.client.ok_or_else(Failure::no_cluster)?;
    let ended = service::run(config, client, surroundings.shutdown).await;
    ended.map_err(|why| Failure::new(NAME, chain(&why)))
}
