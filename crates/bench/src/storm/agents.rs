//! Agents as processes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use polynic_bench::process::{self, Memory};
use polynic_wire::{AddressService, SocketService};

/// How long an agent may take to be healthy.
const PATIENCE: Duration = Duration::from_secs(60);

/// One agent; it ends with the value.
pub(crate) struct Agent {
    child: Child,
    metrics: u16,
    pub(crate) service: SocketService,
}

/// What an agent has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) pool_writes: f64,
    pub(crate) pool_reads: f64,
    pub(crate) conflicts: f64,
    pub(crate) endpoint_writes: f64,
}

impl Agent {
    /// Starts an agent of a node and waits until it is healthy.
    pub(crate) fn start(
        program: &Path,
        directory: &Path,
        node: &str,
        kubeconfig: &Path,
    ) -> anyhow::Result<Self> {
        let (socket, config) =
            (directory.join(format!("{node}.sock")), directory.join(format!("{node}.yml")));
        std::fs::write(&config, format!("ipamUnixSocketPath: {}\n", socket.display()))?;
        let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = Command::new(program)
            .args(["agent", "daemon"])
            .arg(format!("--config-path={}", config.display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .env_clear()
            .env("SPIDERPOOL_NODE_NAME", node)
            .env("SPIDERPOOL_LOG_LEVEL", "error")
            .env("SPIDERPOOL_HEALTH_PORT", "0")
            .env("SPIDERPOOL_ENABLED_METRIC", "true")
            .env("SPIDERPOOL_METRIC_HTTP_PORT", metrics.to_string())
            .env("SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS", "20000")
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let agent = Self { child, metrics, service: SocketService::new(socket) };
        agent.wait()?;
        Ok(agent)
    }

    fn wait(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.service.healthy(end) {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() > end => return Err(why).context("an agent does not get healthy"),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Memory that is resident now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// Time that processors have spent on it so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu(self.child.id())
    }

    /// What its page of metrics says.
    pub(crate) fn counts(&self) -> anyhow::Result<Counts> {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.metrics)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
            line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
        };
        Ok(Counts {
            pool_writes: value("polynic_agent_pool_writes_total"),
            pool_reads: value("polynic_agent_pool_reads_total"),
            conflicts: value("spiderpool_ipam_allocation_update_ippool_conflict_counts_total"),
            endpoint_writes: value("polynic_agent_endpoint_writes_total"),
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
