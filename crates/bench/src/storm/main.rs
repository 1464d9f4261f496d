//! Storms of pods on one pool: agents as processes, each asked over its socket by all of its pods at once.
//!
//! `cargo run --release -p polynic-bench --bin polynic-bench-storm` measures against the embedded API server, and against a real one
//! where its programs are (`scripts/control-plane.sh`). `POLYNIC_PROGRAM` names the program; otherwise it is the one beside this.
//! An argument is a part of the names of those storms that are wanted. Nothing of the host is touched but loopback and a temporary directory.

use std::io::{self, Write};
use std::process::ExitCode;

mod agents;
mod load;
mod table;

use load::Storm;
use polynic_bench::cluster::Cluster;
use polynic_bench::process;

const STORMS: [Storm; 4] = [
    Storm { name: "10 agents x 100 pods, 1,000 addresses", agents: 10, pods: 100, dual: false, taken: 0 },
    Storm { name: "1 agent x 200 pods", agents: 1, pods: 200, dual: false, taken: 0 },
    Storm { name: "10 agents x 100 pods, dual stack", agents: 10, pods: 100, dual: true, taken: 0 },
    Storm {
        name: "10 agents x 100 pods, 5,000 addresses taken",
        agents: 10,
        pods: 100,
        dual: false,
        taken: 5000,
    },
];

/// How many pods hold addresses when an agent is weighed.
const WEIGHED: [usize; 2] = [100, 1000];

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "polynic-bench-storm: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: Option<&str>) -> anyhow::Result<()> {
    let program = process::program()?;
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| name.contains(wanted));
    for start in [Cluster::embedded, Cluster::real] {
        let Some(cluster) = start()? else { continue };
        table::head(cluster.name())?;
        for storm in STORMS.iter().filter(|storm| is_wanted(storm.name)) {
            table::row(storm.name, &load::run(storm, &cluster, &program)?)?;
        }
        if is_wanted("memory") {
            table::weights(&load::weigh(&WEIGHED, &cluster, &program)?)?;
        }
    }
    Ok(())
}
