//! What stands in for a pod's containers: it answers on the ports that they declare, and writes a log for each of them.
//!
//! TCP: a request that looks like HTTP gets a page that names the pod, both addresses and the request; of anything else each line comes back, behind
//! the pod's name and the client's address. UDP: each datagram comes back in the same way, from the address that it was sent to. So a client
//! sees who answered, and what address it was seen with.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

mod log;
mod tcp;
mod udp;

use log::Log;

/// All containers of a pod, as its process gets to know them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// The pod's name, for answers.
    pub pod: String,
    /// The containers.
    pub list: Vec<Container>,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The TCP ports that it declares.
    pub tcp: Vec<u16>,
    /// The UDP ports that it declares.
    pub udp: Vec<u16>,
    /// Where its log goes.
    pub log: PathBuf,
}

/// What tasks that answer need to know.
#[derive(Clone)]
struct Stand {
    pod: Arc<str>,
    log: Log,
}

/// Answers for all containers until the process ends. `ready` is called once they can be reached.
pub fn serve(containers: &Containers, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start the runtime"))?.block_on(async {
        for container in &containers.list {
            start(&containers.pod, container)?;
        }
        ready()?;
        std::future::pending().await
    })
}

fn start(pod: &str, container: &Container) -> Result<()> {
    let stand = Stand { pod: pod.into(), log: Log::open(&container.log)? };
    stand.log.line(&format!("container {} of pod {pod} starts", container.name));
    for port in &container.tcp {
        // A port that is taken is for the container's log, as it would be with a real program.
        match tcp::listen(*port, stand.clone()) {
            Ok(()) => stand.log.line(&format!("listening on TCP port {port}")),
            Err(why) => stand.log.line(&format!("cannot listen on TCP port {port}: {why}")),
        }
    }
    for port in &container.udp {
        stand.log.line(&format!("listening on UDP port {port}"));
        tokio::spawn(udp::listen(*port, stand.clone()));
    }
    Ok(())
}
