//! Which process holds which namespaces, for `exec`, `status` and the stories.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process::Identity;
use crate::state::{State, read_json, write_json};

/// The hosts of a lab: `node1`, ..., `router`, `outside`. Process ids are those inside the lab.
pub type Hosts = BTreeMap<String, Identity>;

/// The name of the router among the hosts.
pub const ROUTER: &str = "router";
/// The name of the host behind the router.
pub const OUTSIDE: &str = "outside";

/// A pod's sandbox: written before anything is made, removed when everything is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// The node's name.
    pub node: String,
    /// What CNI calls the container id.
    pub container_id: String,
    /// Where the network namespace is pinned, in the node's view of the file system.
    pub netns: PathBuf,
    /// The process in it, once the network is complete.
    pub pause: Option<Identity>,
    /// The pod's addresses, the first one first.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// The names of its containers.
    #[serde(default)]
    pub containers: Vec<String>,
    /// Values of CNI capabilities that the pod asks for.
    #[serde(default)]
    pub capabilities: serde_json::Map<String, serde_json::Value>,
}

impl Sandbox {
    /// `namespace/name`.
    pub fn pod(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether its process lives.
    pub fn is_up(&self) -> bool {
        self.pause.is_some_and(|pause| pause.is_alive())
    }

    /// Writes the record.
    pub fn save(&self, state: &State) -> Result<()> {
        write_json(&self.file(state), self)
    }

    /// The log of one of its containers.
    pub fn log(&self, state: &State, container: &str) -> PathBuf {
        state.pods().join(format!("{}.{container}.log", self.container_id))
    }

    /// Removes the record, and the logs.
    pub fn forget(&self, state: &State) {
        for container in &self.containers {
            let _ = fs::remove_file(self.log(state, container));
        }
        // A record that stays only leads to one more teardown, which succeeds.
        let _ = fs::remove_file(self.file(state));
    }

    fn file(&self, state: &State) -> PathBuf {
        state.pods().join(format!("{}.json", self.container_id))
    }
}

/// Notes the hosts.
pub fn save_hosts(state: &State, hosts: &Hosts) -> Result<()> {
    write_json(&state.holders(), hosts)
}

/// The hosts of a running lab.
pub fn hosts(state: &State) -> Result<Hosts> {
    read_json(&state.holders())
}

/// One host of a running lab.
pub fn host(state: &State, name: &str) -> Result<Identity> {
    let hosts = hosts(state)?;
    let known = || hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    hosts.get(name).copied().ok_or_else(|| Error::Input(format!("no host {name:?}: there are {}", known())))
}

/// All sandboxes that have a record, in no particular order.
pub fn sandboxes(state: &State) -> Vec<Sandbox> {
    let entries = fs::read_dir(state.pods()).into_iter().flatten().flatten().map(|entry| entry.path());
    let records = entries.filter(|path| path.extension().is_some_and(|e| e == "json"));
    // One may vanish while we look.
    records.filter_map(|path| read_json(Path::new(&path)).ok()).collect()
}

/// The sandbox of a running pod.
pub fn sandbox_of(state: &State, namespace: &str, name: &str) -> Option<Sandbox> {
    sandboxes(state).into_iter().find(|s| s.namespace == namespace && s.name == name && s.pause.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(id: &str, name: &str, up: bool) -> Sandbox {
        Sandbox {
            namespace: "default".into(),
            name: name.into(),
            uid: "u".into(),
            node: "node1".into(),
            container_id: id.into(),
            netns: "/var/run/netns/cni-1".into(),
            pause: up.then(|| Identity::of(std::process::id()).unwrap()),
            ips: vec!["10.244.1.2".parse().unwrap()],
            containers: vec!["c".into()],
            capabilities: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_pod_is_found_by_name_once_its_process_runs() {
        let root = tempfile::tempdir().unwrap();
        let state = State::at(&root.path().join("one")).unwrap();
        fs::create_dir_all(state.pods()).unwrap();
        let failed = sandbox("c1", "a", false);
        let running = sandbox("c2", "a", true);
        for record in [&failed, &running, &sandbox("c3", "b", true)] {
            record.save(&state).unwrap();
        }
        assert_eq!(sandbox_of(&state, "default", "a"), Some(running.clone()));
        assert!(running.is_up() && !failed.is_up());
        assert_eq!(sandbox_of(&state, "other", "a"), None);
        running.forget(&state);
        assert_eq!(sandbox_of(&state, "default", "a"), None);
        assert_eq!(sandboxes(&state).len(), 2);
    }
}
