//! What is printed and what is written.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::stats::{Pairs, Sample};

/// One figure, in the shape of `target/bench/results.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// Ours: the median.
    pub(crate) value: f64,
    /// Of `value` and `peer_value`.
    pub(crate) unit: &'static str,
    /// Whom it was measured against; absent if that is not on this machine.
    pub(crate) peer: Option<String>,
    /// The other's median.
    pub(crate) peer_value: Option<f64>,
    /// Ours by the other's; below 1 ours is less.
    pub(crate) ratio: Option<f64>,
    /// Tenth and ninetieth percentile of ours, for the table.
    #[serde(skip)]
    pub(crate) spread: Option<(f64, f64)>,
}

impl Row {
    /// Times of pairs. Nothing if nothing was measured.
    pub(crate) fn times(name: &str, peer: &str, pairs: &Pairs) -> Option<Self> {
        let ours = Sample::of_times(&pairs.ours)?;
        let peers = Sample::of_times(&pairs.peers);
        Some(Self {
            name: name.to_owned(),
            value: ours.median(),
            unit: "ms",
            peer: peers.is_some().then(|| peer.to_owned()),
            peer_value: peers.map(|p| p.median()),
            ratio: pairs.ratio(),
            spread: Some((ours.percentile(10.0), ours.percentile(90.0))),
        })
    }

    /// One number against perhaps another.
    pub(crate) fn plain(name: &str, unit: &'static str, value: f64, peer: Option<(&str, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            peer: peer.map(|(name, _)| name.to_owned()),
            peer_value: peer.map(|(_, value)| value),
            ratio: peer.map(|(_, theirs)| value / theirs),
            spread: None,
        }
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        let spread = self.spread.map_or_else(String::new, |(low, high)| format!("{low:.2}-{high:.2}"));
        [
            self.name.clone(),
            format!("{:.2} {}", self.value, self.unit),
            spread,
            number(self.peer_value),
            number(self.ratio),
            self.peer.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

const HEAD: [&str; 6] = ["what", "polynic", "p10-p90", "peer", "ratio", "peer is"];

/// Prints rows as a table.
pub(crate) fn print(rows: &[Row]) -> io::Result<()> {
    let mut lines: Vec<[String; 6]> = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut out = io::stdout().lock();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Writes rows as JSON.
pub(crate) fn write(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let text = serde_json::to_string_pretty(rows)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_row_without_peer_says_so_with_nulls() {
        let pairs = Pairs { ours: vec![Duration::from_millis(2)], peers: Vec::new() };
        let row = Row::times("x", "somebody", &pairs).unwrap();
        let expected =
            json!({"name": "x", "value": 2.0, "unit": "ms", "peer": null, "peer_value": null, "ratio": null});
        assert_eq!(serde_json::to_value(&row).unwrap(), expected);
        assert_eq!(row.cells()[3..], ["-", "-", "-"]);
    }

    #[test]
    fn the_ratio_is_ours_by_theirs() {
        let row = Row::plain("size", "MB", 3.0, Some(("them", 12.0)));
        assert_eq!((row.ratio, row.peer_value), (Some(0.25), Some(12.0)));
    }
}
