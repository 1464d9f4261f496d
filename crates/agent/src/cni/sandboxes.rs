//! Which sandbox each pod of the node has now, and which configuration the shim sends: what hot-plug and GC need beside a request.
//!
//! All of it can be lost: after a restart it is read from the result cache and from the file in which the last configuration is kept.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use polynic_attach::Config as AttachConfig;
use polynic_cni::cache::{Cache, Entry};
use polynic_cni::{Attachment, Invocation, args};

/// A container that was attached so recently may be missing in what a runtime lists for GC.
const RECENT: Duration = Duration::from_secs(120);

/// What is known of sandboxes.
pub(crate) struct Sandboxes {
    /// Where the last configuration is kept.
    file: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    config: Vec<u8>,
    /// By `namespace/name` of the pod.
    sandboxes: BTreeMap<String, Invocation>,
    /// By container id: its interface, and when its ADD was heard of last.
    recent: HashMap<String, (String, Instant)>,
}

impl Sandboxes {
    /// What was known by an agent before; `file` keeps the configuration.
    pub(crate) fn new(file: PathBuf) -> Self {
        let config = fs::read(&file).unwrap_or_default();
        Self { file, known: Mutex::new(Known { config, ..Known::default() }) }
    }

    /// Reads what the result cache says of sandboxes that are not known yet, and removes what a killed agent left beside it. What calls have
    /// told since is newer: it stays, and none comes in between.
    pub(crate) fn load(&self, config: &AttachConfig) {
        polynic_attach::sweep(&config.cni_dir, SystemTime::now());
        let mut known = self.lock();
        let entries = Cache::new(&config.cni_dir).list(None).unwrap_or_default();
        let mut found = BTreeMap::new();
        for entry in entries.iter().filter(|entry| fs::exists(&entry.netns).unwrap_or_default()) {
            let Some(pod) = pod_of(entry) else { continue };
            if entry.ifname == "eth0" || !found.contains_key(&pod) {
                found.insert(pod, invocation_of(entry));
            }
        }
        found.into_iter().for_each(|(pod, invocation)| {
            known.sandboxes.entry(pod).or_insert(invocation);
        });
    }

    /// The configuration that a shim sent last; empty if none ever did.
    pub(crate) fn config(&self) -> Vec<u8> {
        self.lock().config.clone()
    }

    /// A shim sent this configuration. It has no `runtimeConfig` of a single pod then. Says whether it is the first that is known.
    pub(crate) fn sent(&self, config: &[u8]) -> bool {
        let mut map = polynic_cni::json::parse_object(config).unwrap_or_default();
        for key in ["runtimeConfig", "prevResult", "cni.dev/valid-attachments", "cni.dev/attachments"] {
            polynic_cni::json::remove_ci(&mut map, key);
        }
        let config = polynic_cni::json::print_sorted(&serde_json::Value::Object(map)).into_bytes();
        let mut known = self.lock();
        if known.config == config {
            return false;
        }
        let new = self.file.with_extension("new");
        let directory = self.file.parent().map_or(Ok(()), fs::create_dir_all);
        let kept =
            directory.and_then(|()| fs::write(&new, &config)).and_then(|()| fs::rename(&new, &self.file));
        if let Err(why) = kept {
            tracing::warn!(%why, "the shim's configuration cannot be kept: hot-plug needs a call of the shim after a restart");
        }
        std::mem::replace(&mut known.config, config).is_empty()
    }

    /// An ADD came in.
    pub(crate) fn begun(&self, invocation: &Invocation) {
        let mut known = self.lock();
        let now = Instant::now();
        known.recent.retain(|_, (_, at)| now.duration_since(*at) < RECENT);
        known.recent.insert(invocation.container_id.clone(), (invocation.ifname.clone(), now));
    }

    /// A pod was attached.
    pub(crate) fn attached(&self, pod: &str, invocation: &Invocation) {
        // Of every pod of the node: neither the environment nor the configuration, which are the same for all.
        let Invocation { container_id, netns, ifname, args, path, .. } = invocation.clone();
        let kept = Invocation { container_id, netns, ifname, args, path, ..Invocation::default() };
        self.lock().sandboxes.insert(pod.to_owned(), kept);
    }

    /// A container is being deleted.
    pub(crate) fn deleted(&self, pod: &str, container_id: &str) {
        let mut known = self.lock();
        known.recent.remove(container_id);
        if known.sandboxes.get(pod).is_some_and(|invocation| invocation.container_id == container_id) {
            known.sandboxes.remove(pod);
        }
    }

    /// The sandbox of a pod.
    pub(crate) fn of(&self, pod: &str) -> Option<Invocation> {
        self.lock().sandboxes.get(pod).cloned()
    }

    /// Attachments that a runtime may not know of yet.
    pub(crate) fn recent(&self) -> Vec<Attachment> {
        let known = self.lock();
        let of = |(container_id, (ifname, _)): (&String, &(String, Instant))| Attachment {
            container_id: container_id.clone(),
            ifname: ifname.clone(),
        };
        known.recent.iter().map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pod_of(entry: &Entry) -> Option<String> {
    let value =
        |key: &str| entry.args.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let (namespace, name) = (value("K8S_POD_NAMESPACE")?, value("K8S_POD_NAME")?);
    Some(format!("{namespace}/{name}")).filter(|_| !name.is_empty())
}

fn invocation_of(entry: &Entry) -> Invocation {
    let known =
        ["IgnoreUnknown", "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];
    let pairs: Vec<(String, String)> =
        entry.args.iter().filter(|(key, _)| known.contains(&key.as_str())).cloned().collect();
    Invocation {
        container_id: entry.container_id.clone(),
        netns: entry.netns.clone(),
        ifname: "eth0".to_owned(),
        args: args::join(&pairs),
        ..Invocation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(container: &str) -> Invocation {
        Invocation { container_id: container.into(), ifname: "eth0".into(), ..Invocation::default() }
    }

    #[test]
    fn the_configuration_outlives_a_restart_and_is_nobodys_in_particular() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let sandboxes = Sandboxes::new(file.clone());
        assert!(sandboxes.config().is_empty());
        let sent: &[u8] = br#"{"name":"n","runtimeConfig":{"mac":"x"}}"#;
        assert!(sandboxes.sent(sent) && !sandboxes.sent(sent) && !sandboxes.sent(br#"{"name":"m"}"#));
        assert!(!sandboxes.sent(sent));
        assert_eq!(Sandboxes::new(file).config(), br#"{"name":"n"}"#);
    }

    #[test]
    fn the_del_of_an_old_sandbox_leaves_the_new_one() {
        let sandboxes = Sandboxes::new("/nonexistent/config".into());
        sandboxes.attached("blue/p", &invocation("old"));
        sandboxes.attached("blue/p", &invocation("new"));
        sandboxes.deleted("blue/p", "old");
        assert_eq!(sandboxes.of("blue/p").unwrap().container_id, "new");
        sandboxes.deleted("blue/p", "new");
        assert_eq!(sandboxes.of("blue/p"), None);
    }

    #[test]
    fn what_calls_have_told_is_newer_than_what_is_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let write = |container: &str, pod: &str, ifname: &str| {
            let args = [("K8S_POD_NAMESPACE", "blue"), ("K8S_POD_NAME", pod)];
            let entry = Entry {
                container_id: container.into(),
                network: "n".into(),
                ifname: ifname.into(),
                netns: directory.path().display().to_string(),
                args: args.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                ..Entry::default()
            };
            Cache::new(directory.path()).write(&entry).unwrap();
        };
        write("old", "p", "eth0");
        write("secondary", "q", "net1");
        write("c2", "q", "eth0");
        let config = serde_json::json!({"clusterNetwork": "n", "cniDir": directory.path()});
        let config = AttachConfig::parse(config.to_string().as_bytes()).unwrap();
        let sandboxes = Sandboxes::new(directory.path().join("config"));
        sandboxes.attached("blue/p", &invocation("new"));
        sandboxes.load(&config);
        let container = |pod: &str| sandboxes.of(pod).unwrap().container_id;
        assert_eq!((container("blue/p"), container("blue/q")), ("new".to_owned(), "c2".to_owned()));
    }

    #[test]
    fn what_has_just_begun_is_recent_until_it_is_deleted() {
        let sandboxes = Sandboxes::new("/nonexistent/config".into());
        sandboxes.begun(&invocation("c1"));
        assert_eq!(sandboxes.recent()[0].container_id, "c1");
        sandboxes.deleted("blue/p", "c1");
        assert!(sandboxes.recent().is_empty());
    }
}
