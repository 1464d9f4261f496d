//! What came out, for people.

use std::io::{self, Write};
use std::time::Duration;

use polynic_bench::process::Memory;

use crate::load::Outcome;

/// The head of a table.
pub(crate) fn head(server: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "\nagainst {server}\n")?;
    writeln!(
        out,
        "{:<44} {:>8} {:>8} {:>8} {:>7} {:>7} {:>9} {:>6} {:>9} {:>8} {:>8} {:>8}",
        "storm",
        "total s",
        "p50 s",
        "p99 s",
        "failed",
        "writes",
        "conflicts",
        "reads",
        "endpoints",
        "CPU s",
        "RSS MiB",
        "own MiB"
    )
}

/// One storm.
pub(crate) fn row(name: &str, outcome: &Outcome) -> io::Result<()> {
    let counts = &outcome.counts;
    writeln!(
        io::stdout(),
        "{name:<44} {:>8.2} {:>8.2} {:>8.2} {:>7} {:>7} {:>9} {:>6} {:>9} {:>8.2} {:>8.1} {:>8.1}",
        outcome.total.as_secs_f64(),
        percentile(&outcome.latencies, 50),
        percentile(&outcome.latencies, 99),
        outcome.failed_attempts,
        counts.pool_writes,
        counts.conflicts,
        counts.pool_reads,
        counts.endpoint_writes,
        outcome.cpu.as_secs_f64(),
        outcome.memory.resident,
        outcome.memory.own,
    )
}

/// The memory of one agent.
pub(crate) fn weights(weights: &[(usize, Memory)]) -> io::Result<()> {
    for (pods, memory) in weights {
        let Memory { resident, own } = memory;
        writeln!(
            io::stdout(),
            "memory of an agent whose {pods} pods hold addresses: {resident:.1} MiB, {own:.1} without the program's file"
        )?;
    }
    Ok(())
}

/// Seconds that so many of a hundred stayed below; the list is sorted.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map(Duration::as_secs_f64).unwrap_or_default()
}
