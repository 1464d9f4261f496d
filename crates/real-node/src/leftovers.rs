//! What pods leave on a node: nothing, if all is well.

use std::path::Path;

use polynic_e2e::State;

use crate::space::Space;

/// Directories where attachments leave traces.
const TRACES: [&str; 5] = ["/run/netns", "/run/polynic", "/var/lib/cni", "/run/k8s.cni.cncf.io", "/run/cni"];

/// The state of a node's network, and every file of attachments on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftovers(Vec<String>);

impl Leftovers {
    /// Looks at the node.
    pub fn observe(space: &Space) -> Self {
        let mut lines = State::observe(&space.netns()).lines().to_owned();
        for directory in TRACES {
            files(&space.outside(directory), directory, &mut lines);
        }
        lines.sort();
        lines.dedup();
        Self(lines)
    }

    /// What is here and was not there.
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.0.iter().filter(|line| !before.0.contains(line)).cloned().collect()
    }
}

fn files(directory: &Path, shown: &str, lines: &mut Vec<String>) {
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        let shown = format!("{shown}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), &shown, lines);
        } else if !is_memory(&shown) {
            lines.push(format!("file {shown}"));
        }
    }
}

/// Locks, what host-local remembers for the next address, and the configuration by which an agent follows annotations after a restart.
fn is_memory(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    name == "multus-shim.conf"
        || name == "lock"
        || name.ends_with(".lock")
        || name.starts_with("last_reserved_ip.")
        || name == "stamp"
}
