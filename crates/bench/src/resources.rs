//! Size of the program and memory of one call.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::attach;
use crate::plugin::Plugin;
use crate::report::Row;
use crate::stats::Sample;
use crate::world::World;

const ROUNDS: usize = 11;
const PEER: &str = "containernetworking-plugins";
const MIB: f64 = 1024.0 * 1024.0;

/// Sizes and memory of ours and theirs.
pub(crate) fn measure(world: &World) -> anyhow::Result<Vec<Row>> {
    let peers = world.programs.peers.as_deref();
    let theirs = peers.map(same_plugins).transpose()?;
    let size = fs::metadata(&world.programs.polynic)?.len() as f64 / MIB;
    let mut rows = vec![Row::plain(
        "size of the program, all plugins",
        "MiB",
        size,
        theirs.map(|size| ("containernetworking-plugins, the executables of the same plugins", size)),
    )];
    for verb in ["VERSION", "ADD"] {
        let ours = peak(world, &attach::our_macvlan(world), verb)?;
        let their = attach::their_macvlan(world).map(|plugin| peak(world, &plugin, verb)).transpose()?;
        let name = format!("peak memory of macvlan + host-local {verb}");
        rows.push(Row::plain(&name, "MiB", ours, their.map(|peak| (PEER, peak))));
    }
    Ok(rows)
}

/// The size of the others' executables that do what ours does.
fn same_plugins(directory: &Path) -> anyhow::Result<f64> {
    let files = polynic_plugins::types().filter_map(|t| fs::metadata(directory.join(t)).ok());
    Ok(files.map(|meta| meta.len()).sum::<u64>() as f64 / MIB)
}

/// The median of the most memory that a call ever had resident (`ru_maxrss`), in MiB, the largest of its processes.
fn peak(world: &World, plugin: &Plugin<'_>, verb: &str) -> anyhow::Result<f64> {
    let mut peaks = Vec::new();
    for round in 0..ROUNDS {
        let container = format!("peak-{round}");
        peaks.push(peak_of_one(world, plugin, verb, &container)?);
        if verb == "ADD" {
            plugin.call("DEL", &container)?;
        }
    }
    Sample::new(peaks).map(|s| s.median()).context("nothing was measured")
}

fn peak_of_one(world: &World, plugin: &Plugin<'_>, verb: &str, container: &str) -> anyhow::Result<f64> {
    let mut command = Command::new(&world.programs.peak);
    plugin.prepare(&mut command, verb, container);
    let mut child = command.arg(plugin.program()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(plugin.stdin());
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{} {verb} failed: {text}", plugin.program().display());
    Ok(text.trim().parse::<f64>()? / MIB)
}
