//! How writes grow with the number of nodes that start pods from one pool at once:
//! `cargo run -p polynic-ipam --example scale [nodes...]`. Prints a Markdown table; docs/ipam.md explains it.

use std::io::Write as _;

use polynic_ipam::Pacing;
use polynic_ipam::sim::{Storm, storm};

fn main() -> std::io::Result<()> {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![10, 100, 1_000, 5_000] } else { given };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| pacing | nodes | pods | granted | pool writes | conflicts | writes a node | p50 ms | p99 ms | all done s |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for (name, pacing) in [("geometric", Pacing::Geometric(10)), ("adaptive", Pacing::Adaptive)] {
        for nodes in &sizes {
            let pods_per_node = if *nodes > 1_000 { 1 } else { 5 };
            let report = storm(Storm { nodes: *nodes, pods_per_node, within: 1_000, pacing, seed: 1 });
            writeln!(
                out,
                "| {name} | {nodes} | {} | {} | {} | {} | {:.1} | {} | {} | {:.1} |",
                nodes * pods_per_node,
                report.granted,
                report.pool_writes,
                report.conflicts,
                report.pool_writes as f64 / *nodes as f64,
                report.p50,
                report.p99,
                report.end as f64 / 1000.0,
            )?;
            out.flush()?;
        }
    }
    Ok(())
}
