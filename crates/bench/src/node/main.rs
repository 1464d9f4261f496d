//! Pods as a container runtime makes them: `multus-shim` for each, one node agent, one embedded API server; one by one against a process
//! that does nothing, and 60 and 500 all at once. Memory of the agent in between.
//!
//! `cargo run --release -p polynic-bench --bin polynic-bench-node [GROUP]` ; `POLYNIC_PROGRAM` names the program, otherwise it is the one beside this.
//! Everything happens in namespaces of this process.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use polynic_kernel::sandbox::{Options, enter_private};

mod calls;
mod world;

use world::{Kind, World};

/// Pods that come and go one after the other, of each kind.
const ONE_BY_ONE: usize = 60;
/// Pods that come at the same time.
const AT_ONCE: [usize; 2] = [60, 500];
/// Pods that stay while the agent is weighed.
const WEIGHED: [usize; 2] = [100, 1000];

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "polynic-bench-node: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: Option<&str>) -> anyhow::Result<()> {
    enter_private(Options { loopback: true, ..Options::default() })
        .context("cannot make private namespaces")?;
    let is_wanted = |group: &str| wanted.is_none_or(|wanted| group.contains(wanted));
    if is_wanted("sequence") {
        let world = World::new()?;
        for kind in [Kind::Trivial, Kind::TwoNetworks] {
            calls::one_by_one(&world, kind, ONE_BY_ONE)?;
        }
    }
    if is_wanted("parallel") {
        for kind in [Kind::Trivial, Kind::TwoNetworks] {
            // Each with an agent of its own: what it has after a burst is what the burst left.
            let world = World::new()?;
            for count in AT_ONCE {
                calls::at_once(&world, kind, count)?;
            }
        }
    }
    if is_wanted("memory") {
        calls::weigh(&World::new()?, Kind::TwoNetworks, &WEIGHED)?;
    }
    Ok(())
}
