//! What a node has on disk.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::World;
use crate::registry;

impl World {
    /// The addresses that a node's host-local store holds for a network, in order.
    pub fn stored_addresses(&self, node: &str, network: &str) -> Vec<String> {
        let directory = self.state.node(node).join("var/lib/cni/networks").join(network);
        let mut names = file_names(&directory);
        names.retain(|name| name.parse::<IpAddr>().is_ok());
        names.sort();
        names
    }

    /// What a node's flannel daemon tells the CNI plugin.
    pub fn subnet_file(&self, node: &str) -> Result<String, String> {
        let process = registry::host(&self.state, node).map_err(|why| why.to_string())?;
        crate::flannel::subnet_file(process.pid).ok_or_else(|| format!("{node} has no subnet.env"))
    }

    /// How many network namespaces a node has pinned.
    pub fn pinned_networks(&self, node: &str) -> Result<usize, String> {
        let process = registry::host(&self.state, node).map_err(|why| why.to_string())?;
        // The node's own view of /run, through the process that holds it.
        Ok(file_names(&PathBuf::from(format!("/proc/{}/root/run/netns", process.pid))).len())
    }

    /// The names of files below one of the CNI directories of a node, such as `var/lib/cni/results`.
    pub fn node_files(&self, node: &str, below: &str) -> Vec<String> {
        file_names(&self.state.node(node).join(below))
    }
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
