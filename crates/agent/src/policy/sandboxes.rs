//! Which namespaces are a pod's: from what attachments told us, kept on disk for the next start, and from the caches that CNI runtimes leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use polynic_cni::cache::Cache;
use polynic_policy::PodKey;
use polynic_wire::PolicySandbox;

/// The namespaces of this node's pods.
#[derive(Debug)]
pub(super) struct Sandboxes {
    directory: PathBuf,
    caches: Vec<PathBuf>,
    /// By container id.
    told: BTreeMap<String, PolicySandbox>,
    /// From the caches, as they were last read.
    found: BTreeMap<PodKey, BTreeSet<String>>,
}

impl Sandboxes {
    /// Reads what is on disk. What cannot be read is left out.
    pub(super) fn open(directory: PathBuf, caches: Vec<PathBuf>) -> Self {
        let files = fs::read_dir(&directory).into_iter().flatten().flatten();
        let read = |path: PathBuf| {
            let named = path.extension().is_some_and(|kind| kind == "json");
            serde_json::from_slice::<PolicySandbox>(&fs::read(path).ok().filter(|_| named)?).ok()
        };
        let told = files.filter_map(|entry| read(entry.path()));
        let told = told.map(|sandbox| (sandbox.container_id.clone(), sandbox)).collect();
        let mut sandboxes = Self { directory, caches, told, found: BTreeMap::new() };
        sandboxes.look_again();
        sandboxes
    }

    /// Every sandbox that attachments told of.
    pub(super) fn told(&self) -> impl Iterator<Item = &PolicySandbox> {
        self.told.values()
    }

    /// An attachment tells of its sandbox. The file is complete or not there.
    pub(super) fn remember(&mut self, sandbox: &PolicySandbox) -> io::Result<()> {
        let path = self.file(&sandbox.container_id)?;
        fs::create_dir_all(&self.directory)?;
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec(sandbox)?)?;
        fs::rename(&temporary, &path)?;
        self.told.insert(sandbox.container_id.clone(), sandbox.clone());
        Ok(())
    }

    /// Whether attachments told of a sandbox before.
    pub(super) fn knows(&self, container_id: &str) -> bool {
        self.told.contains_key(container_id)
    }

    /// A sandbox is gone.
    pub(super) fn forget(&mut self, container_id: &str) {
        if self.told.remove(container_id).is_some()
            && let Ok(path) = self.file(container_id)
        {
            // One that stays names a namespace that is not there, and is forgotten at the next start.
            let _ = fs::remove_file(path);
        }
    }

    /// Forgets the sandboxes whose namespace is gone; answers them.
    pub(super) fn sweep(&mut self) -> Vec<PolicySandbox> {
        let gone = self.told.values().filter(|sandbox| !Path::new(&sandbox.net_namespace).exists());
        let gone: Vec<PolicySandbox> = gone.cloned().collect();
        gone.iter().for_each(|sandbox| self.forget(&sandbox.container_id));
        gone
    }

    /// Paths of a pod's namespaces, as far as they are there.
    pub(super) fn of(&self, pod: &PodKey) -> BTreeSet<String> {
        let told = self.told.values().filter(|sandbox| pod_of(sandbox) == *pod);
        let told = told.map(|sandbox| sandbox.net_namespace.clone());
        let found = self.found.get(pod).into_iter().flatten().cloned();
        told.chain(found).filter(|path| Path::new(path).exists()).collect()
    }

    /// Reads the caches again.
    pub(super) fn look_again(&mut self) {
        self.found.clear();
        for directory in &self.caches {
            for entry in Cache::new(directory).list(None).unwrap_or_default() {
                let argument = |name: &str| {
                    entry.args.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
                };
                let pod = argument("K8S_POD_NAMESPACE").zip(argument("K8S_POD_NAME"));
                if let Some((namespace, name)) = pod.filter(|_| !entry.netns.is_empty()) {
                    let paths = self.found.entry(PodKey::new(namespace, name)).or_default();
                    paths.insert(entry.netns.clone());
                }
            }
        }
    }

    /// Container ids come from outside and must not lead elsewhere.
    fn file(&self, container_id: &str) -> io::Result<PathBuf> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if container_id.is_empty() || container_id.starts_with('.') || !container_id.chars().all(is_plain) {
            return Err(io::Error::other(format!("{container_id:?} is no container id")));
        }
        Ok(self.directory.join(format!("{container_id}.json")))
    }
}

/// The pod of a sandbox.
pub(super) fn pod_of(sandbox: &PolicySandbox) -> PodKey {
    PodKey::new(&sandbox.pod_namespace, &sandbox.pod_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::cache::Entry;
    use polynic_wire::PolicyNetwork;

    fn sandbox(id: &str, netns: &Path) -> PolicySandbox {
        PolicySandbox {
            container_id: id.into(),
            net_namespace: netns.display().to_string(),
            pod_namespace: "shop".into(),
            pod_name: "web".into(),
            networks: vec![PolicyNetwork { name: "shop/lan".into(), interface: "net1".into() }],
            ..PolicySandbox::default()
        }
    }

    #[test]
    fn sandboxes_outlive_the_process_until_their_namespace_goes() {
        let directory = tempfile::tempdir().unwrap();
        let (state, netns) = (directory.path().join("state"), directory.path().join("netns"));
        fs::write(&netns, "").unwrap();
        let pod = PodKey::new("shop", "web");
        let mut first = Sandboxes::open(state.clone(), Vec::new());
        first.remember(&sandbox("c1", &netns)).unwrap();
        assert!(first.remember(&sandbox("../c1", &netns)).is_err());
        let mut second = Sandboxes::open(state.clone(), Vec::new());
        assert_eq!(second.told().count(), 1);
        assert_eq!(second.of(&pod).len(), 1);
        assert_eq!(second.sweep(), []);
        fs::remove_file(&netns).unwrap();
        assert!(second.of(&pod).is_empty());
        assert_eq!(second.sweep().len(), 1);
        assert_eq!(Sandboxes::open(state, Vec::new()).told().count(), 0);
    }

    #[test]
    fn pods_that_somebody_else_attached_are_found_in_the_caches() {
        let directory = tempfile::tempdir().unwrap();
        let netns = directory.path().join("netns");
        fs::write(&netns, "").unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let entry = Entry {
            container_id: "c1".into(),
            ifname: "net1".into(),
            network: "lan".into(),
            netns: netns.display().to_string(),
            args: vec![pair("K8S_POD_NAMESPACE", "shop"), pair("K8S_POD_NAME", "web")],
            ..Entry::default()
        };
        let cache = directory.path().join("cache");
        let mut sandboxes = Sandboxes::open(directory.path().join("state"), vec![cache.clone()]);
        Cache::new(&cache).write(&entry).unwrap();
        assert!(sandboxes.of(&PodKey::new("shop", "web")).is_empty());
        sandboxes.look_again();
        assert_eq!(sandboxes.of(&PodKey::new("shop", "web")), [netns.display().to_string()].into());
    }
}
