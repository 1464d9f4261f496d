//! Benchmarks of polynic, all in one run and in pairs, because ratios outlive machines and milliseconds do not.
//!
//! `cargo run --release -p polynic-bench` builds the static program, moves into private namespaces (no root needed where
//! the kernel allows that) and prints a table; `target/bench/results.json` holds the same for programs. An argument is a
//! part of the names of those groups of figures that are wanted.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use polynic_kernel::sandbox::{Options, enter_private};

mod attach;
mod chained;
mod coordinator;
mod explain;
mod inprocess;
mod message;
mod plugin;
mod programs;
mod raw;
mod report;
mod resources;
mod spawn;
mod stats;
mod world;

use programs::Programs;
use report::Row;
use world::World;

/// One group of figures.
type Group = (&'static str, fn(&World) -> anyhow::Result<Vec<Row>>);

const GROUPS: [Group; 11] = [
    ("spawn", spawn::measure),
    ("macvlan", attach::macvlan),
    ("bridge", attach::bridge),
    ("plain", attach::plain),
    ("masquerade", attach::masquerade),
    ("chained", chained::measure),
    ("host-local", attach::held),
    ("in-process", inprocess::measure),
    ("coordinator", coordinator::measure),
    ("explain", explain::measure),
    ("resources", resources::measure),
];

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "polynic-bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: Option<&str>) -> anyhow::Result<()> {
    let programs = Programs::build()?;
    if programs.peers.is_none() {
        writeln!(io::stderr(), "no {}: nothing to compare with, its columns stay empty", programs::PEERS)?;
    }
    enter_private(Options { loopback: true, ..Options::default() })?;
    let results = programs.target.join("bench/results.json");
    let world = World::new(programs).context("cannot set up the network to measure in")?;
    let mut rows = Vec::new();
    for (name, measure) in GROUPS {
        if wanted.is_none_or(|w| name.contains(w)) {
            rows.extend(measure(&world).with_context(|| format!("group {name}"))?);
        }
    }
    report::print(&rows)?;
    report::write(&results, &rows)?;
    Ok(writeln!(io::stdout(), "\nwritten to {}", results.display())?)
}
