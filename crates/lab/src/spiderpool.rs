//! Spiderpool's part of a cluster, as its chart installs it: the kinds, the agent on each node, the controller.
//!
//! The daemons are the product's own, started by their command lines; the lab only starts them again when they end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use kube::Client;
use polynic_api::spider::SpiderKind;
use polynic_api::spider::coordinator::Coordinator;
use polynic_api::spider::endpoint::Endpoint;
use polynic_api::spider::multus_config::MultusConfig;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::spider::subnet::Subnet;

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::hold::STATE_INSIDE;
use crate::process::{self, Identity};
use crate::state::{State, write_whole};
use crate::{api, launch};

/// The kinds, as manifests.
const DEFINITIONS: [&str; 6] =
    [IPPool::CRD, Subnet::CRD, ReservedIP::CRD, Endpoint::CRD, Coordinator::CRD, MultusConfig::CRD];
/// The configuration file's name in the lab's directory.
const CONFIG: &str = "spiderpool-conf.yml";
/// What the chart writes into it by default, as far as it differs from the daemons' own defaults.
const SETTINGS: &str = "enableIPv4: true\nenableIPv6: true\nenableSpiderSubnet: true\n";
/// How long a daemon must have lasted for its next end to count as the first.
const LASTING: Duration = Duration::from_secs(30);

/// Makes the kinds known, and writes the daemons' configuration.
pub async fn install(client: &Client, state: &State) -> Result<()> {
    for definition in DEFINITIONS {
        api::define(client, definition).await?;
    }
    write_whole(&state.directory().join(CONFIG), SETTINGS.as_bytes())
}

/// A daemon of the lab.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Its name among the logs.
    name: String,
    /// Whose namespaces it runs in; the supervisor's if absent.
    host: Option<Identity>,
    program: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Daemon {
    /// The node agent of a node. Its namespaces show the lab's directory and the program at their own places.
    pub fn agent(node: &str, holder: Identity) -> Daemon {
        let words = [
            "/opt/cni/bin/polynic".to_owned(),
            "agent".to_owned(),
            format!("--config-path={STATE_INSIDE}/{CONFIG}"),
            format!("--kubeconfig={STATE_INSIDE}/kubeconfig-inside"),
        ];
        let environment = [
            ("SPIDERPOOL_NODE_NAME", node),
            ("SPIDERPOOL_AGENT_NAMESPACE", "kube-system"),
            ("SPIDERPOOL_AGENT_POD_NAMESPACE", "kube-system"),
            ("SPIDERPOOL_POD_NAMESPACE", "kube-system"),
            ("SPIDERPOOL_POD_NAME", &format!("spiderpool-agent-{node}")),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Daemon {
            name: format!("{node}-agent"),
            host: Some(holder),
            program: words.to_vec(),
            environment: environment.to_vec(),
        }
    }

    /// Runs it, again and again if it must be.
    pub async fn keep(self, state: State) {
        let mut backoff = Backoff::of_sandboxes();
        loop {
            let started = Instant::now();
            match self.start(&state) {
                Ok(mut child) => {
                    let status = child.wait().await;
                    tracing::warn!(daemon = self.name, ?status, "a daemon ended: starting it again");
                }
                Err(why) => tracing::warn!(daemon = self.name, %why, "cannot start a daemon"),
            }
            if started.elapsed() > LASTING {
                backoff.reset();
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    fn start(&self, state: &State) -> Result<tokio::process::Child> {
        let log = launch::log_file(state, &self.name)?;
        let holder = self.host.map_or_else(std::process::id, |host| host.pid).to_string();
        let mut command = process::again(["__become", &holder, "--"]);
        command.args(&self.program).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let what = format!("start {}", self.name);
        tokio::process::Command::from(command).spawn().map_err(Error::io(what))
    }
}
