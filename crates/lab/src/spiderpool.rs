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
use crate::services::Service;
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

/// The service of a node that gives addresses to its pods.
pub fn service(node: &str) -> Service {
    let words = [
        "spiderpool-agent".to_owned(),
        "daemon".to_owned(),
        format!("--config-path={STATE_INSIDE}/{CONFIG}"),
        format!("--kubeconfig={STATE_INSIDE}/kubeconfig-inside"),
    ];
    let environment = [
        ("SPIDERPOOL_NODE_NAME", node),
        ("SPIDERPOOL_AGENT_NAMESPACE", NAMESPACE),
        ("SPIDERPOOL_AGENT_POD_NAMESPACE", NAMESPACE),
        ("SPIDERPOOL_POD_NAMESPACE", NAMESPACE),
    ];
    Service { title: "agent", words: words.to_vec(), environment: environment.map(pair).to_vec() }
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
    let environment = environment.map(pair);
    Daemon::inside("spiderpool-controller", std::process::id(), &program, &environment)
}

fn pair((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
