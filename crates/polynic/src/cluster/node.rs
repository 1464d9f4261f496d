//! `polynic doctor node [ROOT]`: what keeps pods of this node from their networks.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use polynic_install::inspect::{Finding, Places, findings, observe};
use serde_json::json;

/// The command. Others than root would be told of files that they may not write, and of sockets that do not answer them.
pub(super) fn doctor(root: &Path, as_json: bool) -> io::Result<(String, bool)> {
    if !root.is_dir() {
        return Err(io::Error::other(format!("there is no directory {}", root.display())));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::other("doctor node is for root on the node"));
    }
    Ok(examine(root, as_json))
}

/// Looks at the node below a root: the report, and whether all is well.
fn examine(root: &Path, as_json: bool) -> (String, bool) {
    let found = findings(&observe(&Places::below(root)));
    let text = if as_json { in_json(&found) } else { in_words(root, &found) };
    (text, found.is_empty())
}

fn in_words(root: &Path, found: &[Finding]) -> String {
    let mut text = format!("looked at the node below {}\n", root.display());
    for finding in found {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{finding}");
    }
    if found.is_empty() {
        text.push_str("all is well\n");
    }
    text
}

fn in_json(found: &[Finding]) -> String {
    format!("{:#}\n", json!({"findings": found}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_nothing_on_it_is_not_well_and_says_so_to_programs_too() {
        let root = tempfile::tempdir().unwrap();
        let (text, well) = examine(root.path(), false);
        assert!(!well && text.contains("opt/cni/bin: ") && text.contains("Remedy: "), "{text}");
        let (text, _) = examine(root.path(), true);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["findings"][0]["severity"], "wrong");
    }
}
