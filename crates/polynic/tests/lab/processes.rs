//! The daemons of a lab, as this machine numbers them.

use std::collections::BTreeMap;
use std::process::Command;

use crate::labs::{Labs, text};

/// The processes of a running lab that are the node program with this word on their command line.
pub fn serving(labs: &Labs, lab: &str, word: &str) -> Vec<u32> {
    let parents = parents();
    let init: u32 = labs.init(lab).parse().unwrap();
    let is_ours =
        |pid: u32| std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).any(|p| p == init);
    let runs = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = text(&line);
        let words: Vec<&str> = line.split('\0').collect();
        words.first().is_some_and(|program| program.ends_with("polynic")) && words.contains(&word)
    };
    parents.keys().copied().filter(|pid| is_ours(*pid)).filter(runs).collect()
}

/// Sends a signal by its name; a process that has ended by itself meanwhile gets none.
pub fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).output();
}

/// The parent of each process.
fn parents() -> BTreeMap<u32, u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
