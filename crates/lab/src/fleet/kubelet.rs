//! A node's kubelet, run again and again if it must be: pods survive it, because their processes are not its children for long.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::launch;
use crate::process::{self, Identity};
use crate::state::State;
use crate::underlay::Node;

/// A kubelet that ran so long was well.
const WELL: Duration = Duration::from_secs(30);

/// A kubelet and whoever keeps it running. It ends with this.
pub struct Kept(JoinHandle<()>);

impl Kept {
    /// Starts the kubelet of the node that `holder` holds.
    pub fn start(state: State, node: Node, holder: Identity) -> Kept {
        Kept(tokio::spawn(keep(state, node, holder)))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(state: State, node: Node, holder: Identity) {
    let mut backoff = Backoff::of_sandboxes();
    loop {
        let started = Instant::now();
        match start(&state, node, holder) {
            Ok(mut child) => {
                let status = child.wait().await;
                tracing::warn!(node = %node.name(), ?status, "the kubelet ended: starting it again");
            }
            Err(why) => tracing::warn!(node = %node.name(), %why, "cannot start the kubelet"),
        }
        if started.elapsed() > WELL {
            backoff.reset();
        }
        tokio::time::sleep(backoff.wait()).await;
    }
}

fn start(state: &State, node: Node, holder: Identity) -> Result<tokio::process::Child> {
    let log = launch::log_file(state, &node.name())?;
    let mut command = process::again(["__kubelet", &node.number.to_string(), &holder.pid.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let what = format!("start the kubelet of {}", node.name());
    tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(Error::io(what))
}
