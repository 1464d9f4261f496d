//! The two servers: how they are started, where they are, how much memory they take.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use polynic_apiserver::Config;
use polynic_control_plane::{ControlPlane, Programs};
use serde_json::{Value, json};

use crate::Outcome;
use crate::client::{Client, Credentials};

const SERVE: &str = "serve";

/// What this process is to serve if it was started as the embedded server.
pub fn directory_to_serve() -> Option<PathBuf> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == SERVE).then(|| arguments.next().map(PathBuf::from))?
}

/// Serves until standard input ends; says where on standard output.
pub fn serve(directory: &Path) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let running = runtime.block_on(polynic_apiserver::Server::start(Config::new(directory)))?;
    let whereabouts = json!({"addr": running.addr(), "ca": running.ca_pem(), "token": running.token()});
    println!("{whereabouts}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(running.shutdown());
    Ok(())
}

/// The embedded server in a process of its own, which ends with this value.
pub struct Embedded {
    process: Child,
    addr: SocketAddr,
    credentials: Credentials,
}

impl Embedded {
    /// Starts it; the time is from the start of the process until it answered a request.
    pub async fn start(directory: &Path) -> Outcome<(Self, Duration)> {
        let begun = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SERVE).arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line)?;
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        let credentials = Credentials { ca: text("ca"), token: text("token") };
        let embedded = Self { process, addr: text("addr").parse()?, credentials };
        Client::connect(embedded.addr, &embedded.credentials).await?.get("/readyz").await;
        Ok((embedded, begun.elapsed()))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// One of the two.
pub enum Server {
    Embedded(Embedded),
    Real(Box<ControlPlane>),
}

impl Server {
    /// Starts etcd and kube-apiserver; the time is until kube-apiserver is ready.
    pub fn real(programs: &Programs) -> Outcome<(Self, Duration)> {
        let begun = Instant::now();
        let plane = ControlPlane::start(programs)?;
        Ok((Self::Real(Box::new(plane)), begun.elapsed()))
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Outcome<Client> {
        match self {
            Self::Embedded(server) => Client::connect(server.addr, &server.credentials).await,
            Self::Real(plane) => {
                let credentials = Credentials { ca: plane.ca_pem().into(), token: plane.token().into() };
                Client::connect(plane.addr(), &credentials).await
            }
        }
    }

    /// Resident memory of all its processes, in KiB.
    pub fn resident(&self) -> u64 {
        match self {
            Self::Embedded(server) => resident(server.process.id()),
            Self::Real(plane) => plane.process_ids().into_iter().map(resident).sum(),
        }
    }
}

fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
