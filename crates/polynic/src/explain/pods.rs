//! Where the pods of this node have their namespaces: from the result cache, which every runtime writes, and from polynic's records.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use polynic_cni::cache::{Cache, Entry};

use super::options::Options;

/// Where runtimes keep their cache.
pub(super) const CACHE: &str = polynic_cni::cache::DEFAULT_DIRECTORY;
/// Where polynic keeps its records.
pub(super) const STATE: &str = "/run/polynic";

/// A namespace to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What people call it.
    pub(super) name: String,
    /// Its path.
    pub(super) netns: String,
}

/// The node, the pod that is asked about, and the other pods of the node.
pub(super) fn places(options: &Options, cache: &Path, state: &Path) -> io::Result<Vec<Place>> {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let node = Place { name: format!("node {node}"), netns: "/proc/self/ns/net".to_owned() };
    let known = known(cache, state)?;
    let pod = match (&options.netns, &options.pod) {
        (Some(netns), pod) => {
            let name = pod.as_ref().map(|pod| format!("pod {}/{pod}", options.namespace));
            Place { name: name.unwrap_or_else(|| format!("netns {netns}")), netns: netns.clone() }
        }
        (None, pod) => find(&known, &options.namespace, pod.as_deref().unwrap_or_default())?,
    };
    let others = known.into_iter().filter(|place| place.netns != pod.netns);
    Ok([node, pod.clone()].into_iter().chain(others).collect())
}

fn find(known: &[Place], namespace: &str, pod: &str) -> io::Result<Place> {
    let wanted = format!("pod {namespace}/{pod}");
    known.iter().find(|place| place.name == wanted).cloned().ok_or_else(|| {
        let all: Vec<&str> = known.iter().map(|place| place.name.trim_start_matches("pod ")).collect();
        let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        io::Error::other(format!(
            "this node has no pod {namespace}/{pod} that was attached by CNI (there is: {all}); run this on the pod's node, or give --netns PATH"
        ))
    })
}

/// Every container's pod and namespace, as far as the namespace is still there. One entry a namespace, the pod's name if anybody knows it.
fn known(cache: &Path, state: &Path) -> io::Result<Vec<Place>> {
    let mut names = BTreeMap::new();
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for entry in Cache::new(cache).list(None).map_err(io::Error::other)? {
        if let Some(pod) = pod_of(&entry) {
            names.insert(entry.container_id.clone(), pod);
        }
        if !entry.netns.is_empty() {
            paths.insert(entry.container_id, entry.netns);
        }
    }
    let containers = std::fs::read_dir(state.join("attachments")).into_iter().flatten().flatten();
    for container in containers {
        let record = polynic_plugins::record::applied(&container.path()).into_iter().next();
        if let Some(record) = record {
            paths.insert(container.file_name().to_string_lossy().into_owned(), record.netns_path);
        }
    }
    let mut places: Vec<Place> = Vec::new();
    for (container, netns) in paths.into_iter().filter(|(_, netns)| Path::new(netns).exists()) {
        let name = names.get(&container).cloned().unwrap_or_else(|| format!("container {container}"));
        if !places.iter().any(|place| place.netns == netns) {
            places.push(Place { name, netns });
        }
    }
    Ok(places)
}

fn pod_of(entry: &Entry) -> Option<String> {
    let arg = |name: &str| entry.args.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    Some(format!("pod {}/{}", arg("K8S_POD_NAMESPACE")?, arg("K8S_POD_NAME")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(container: &str, pod: &str, netns: &Path) -> Entry {
        let args = [("K8S_POD_NAMESPACE", "team"), ("K8S_POD_NAME", pod)];
        Entry {
            container_id: container.into(),
            ifname: "eth0".into(),
            network: "n".into(),
            netns: netns.to_string_lossy().into_owned(),
            args: args.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
            config: b"{}".to_vec(),
            ..Entry::default()
        }
    }

    #[test]
    fn a_pod_is_found_by_the_cache_and_the_others_come_along() {
        let root = tempfile::tempdir().unwrap();
        let netns = |name: &str| root.path().join(name);
        for name in ["one", "two"] {
            std::fs::write(netns(name), "").unwrap();
        }
        let cache = Cache::new(root.path());
        for entry in [
            entry("c1", "web", &netns("one")),
            entry("c2", "db", &netns("two")),
            entry("c3", "gone", &netns("three")),
        ] {
            cache.write(&entry).unwrap();
        }
        let options = Options::read(&["team/db", "--to", "10.0.0.1"]).unwrap();
        let found = places(&options, root.path(), root.path()).unwrap();
        let names: Vec<&str> = found[1..].iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names, ["pod team/db", "pod team/web"]);
        let absent = Options::read(&["team/gone", "--to", "10.0.0.1"]).unwrap();
        let error = places(&absent, root.path(), root.path()).unwrap_err().to_string();
        assert!(error.contains("no pod team/gone") && error.contains("team/web"), "{error}");
    }
}
