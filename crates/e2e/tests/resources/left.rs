//! What attachments can leave behind: on the node, in files, and in the process that made them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use polynic_e2e::{Node, State};

/// Where the plugins keep their records.
pub(crate) const STATE: &str = "/run/polynic";

/// All of it at one moment.
pub(crate) struct Left {
    node: State,
    files: BTreeSet<String>,
    /// What each descriptor of this process is, without the numbers of sockets and pipes.
    descriptors: Vec<String>,
    /// Namespaces that are kept by a mount.
    mounts: usize,
    /// Namespaces that threads of this process are in.
    namespaces: BTreeSet<String>,
}

impl Left {
    pub(crate) fn observe(node: &Node) -> Self {
        let files =
            [STATE, node.directory(), "/var/lib/cni"].into_iter().flat_map(|d| files_below(Path::new(d)));
        Self {
            node: node.state(),
            files: files.collect(),
            descriptors: descriptors(),
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(),
            namespaces: namespaces(),
        }
    }

    /// How many more descriptors this process has than then.
    pub(crate) fn descriptors_more_than(&self, earlier: &Self) -> usize {
        self.descriptors.len().saturating_sub(earlier.descriptors.len())
    }

    pub(crate) fn assert_same(&self, earlier: &Self) {
        self.node.assert_same(&earlier.node, "after all are gone");
        assert_eq!(self.files, earlier.files, "files");
        assert_eq!(self.descriptors, earlier.descriptors, "descriptors of this process");
        assert_eq!(self.mounts, earlier.mounts, "namespaces that are mounted");
        let entered: Vec<&String> = self.namespaces.difference(&earlier.namespaces).collect();
        assert!(entered.is_empty(), "threads stay in {entered:?}");
    }
}

fn files_below(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let below = |path: &Path| if path.is_dir() { files_below(path) } else { Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| [vec![path.display().to_string()], below(&path)].concat()).collect()
}

fn descriptors() -> Vec<String> {
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let kind = |link: &Path| {
        let text = link.display().to_string();
        // `socket:[17]` is as good as `socket:[18]`; the directory itself is open while it is read.
        text.split('[').next().unwrap_or_default().to_owned()
    };
    let mut kinds: Vec<String> = links.map(|link| kind(&link)).collect();
    kinds.sort();
    kinds
}

fn namespaces() -> BTreeSet<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    // A thread may end while it is looked at.
    let links = threads.filter_map(|thread| fs::read_link(thread.join("ns/net")).ok());
    links.map(|link| link.display().to_string()).collect()
}
