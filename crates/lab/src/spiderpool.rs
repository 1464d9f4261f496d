//! Spiderpool's part of a cluster, as its chart installs it: the kinds, the agent on each node, the controller.
//!
//! The daemons are the product's own, started by their command lines.

use std::path::Path;

use kube::Client;
use polynic_api::spider::SpiderKind;
use polynic_api::spider::coordinator::Coordinator;
use polynic_api::spider::endpoint::Endpoint;
use polynic_api::spider::multus_config::MultusConfig;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::spider::subnet::Subnet;

use crate::api;
use crate::daemon::Daemon;
use crate::error::Result;
use crate::hold::STATE_INSIDE;
use crate::process::Identity;
use crate::state::{State, write_whole};

/// The kinds, as manifests.
const DEFINITIONS: [&str; 6] =
    [IPPool::CRD, Subnet::CRD, ReservedIP::CRD, Endpoint::CRD, Coordinator::CRD, MultusConfig::CRD];
/// The configuration file's name in the lab's directory.
const CONFIG: &str = "spiderpool-conf.yml";
/// What the chart writes into it by default, as far as it differs from the daemons' own defaults.
const SETTINGS: &str = "enableIPv4: true\nenableIPv6: true\nenableSpiderSubnet: true\n";
/// Where the chart puts the daemons.
const NAMESPACE: &str = "kube-system";

/// Makes the kinds known, and writes the daemons' configuration.
pub async fn install(client: &Client, state: &State) -> Result<()> {
    for definition in DEFINITIONS {
        api::define(client, definition).await?;
    }
    write_whole(&state.directory().join(CONFIG), SETTINGS.as_bytes())
}

/// The node agent of a node. Its namespaces show the lab's directory and the program at their own places.
pub fn agent(node: &str, holder: Identity) -> Daemon {
    let program = [
        "/opt/cni/bin/polynic".to_owned(),
        "agent".to_owned(),
        format!("--config-path={STATE_INSIDE}/{CONFIG}"),
        format!("--kubeconfig={STATE_INSIDE}/kubeconfig-inside"),
    ];
    let environment = [
        ("SPIDERPOOL_NODE_NAME", node),
        ("SPIDERPOOL_AGENT_NAMESPACE", NAMESPACE),
        ("SPIDERPOOL_AGENT_POD_NAMESPACE", NAMESPACE),
        ("SPIDERPOOL_POD_NAMESPACE", NAMESPACE),
    ];
    daemon(&format!("{node}-agent"), holder.pid, &program, &environment)
}

/// The cluster controller. It runs beside the API server, which asks its webhooks by their address.
pub fn controller(polynic: &Path, state: &State) -> Daemon {
    let program = [
        polynic.display().to_string(),
        "controller".to_owned(),
        "daemon".to_owned(),
        format!("--config-path={}", state.directory().join(CONFIG).display()),
        format!("--kubeconfig={}", state.inner_kubeconfig().display()),
    ];
    let environment = [
        ("SPIDERPOOL_POD_NAMESPACE", NAMESPACE),
        ("SPIDERPOOL_POD_NAME", "spiderpool-controller-0"),
        ("SPIDERPOOL_WEBHOOK_URL", "https://127.0.0.1:5722"),
    ];
    daemon("spiderpool-controller", std::process::id(), &program, &environment)
}

/// A program in the namespaces of the process `holder`.
pub(crate) fn daemon(name: &str, holder: u32, program: &[String], environment: &[(&str, &str)]) -> Daemon {
    let become_it = ["__become".to_owned(), holder.to_string(), "--".to_owned()];
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Daemon {
        name: name.to_owned(),
        args: [&become_it, program].concat(),
        environment: environment.iter().map(pair).collect(),
    }
}
