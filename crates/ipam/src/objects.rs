//! Pods and what owns them, in the allocator's own words. The conversion from API objects is at the edge.

use std::collections::BTreeMap;
use std::fmt;

/// Labels or annotations.
pub type Texts = BTreeMap<String, String>;

/// Namespace and name of an object; of a pod unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// The namespace; empty only if a record of a foreign program names none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl PodKey {
    /// A key of its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Reads `namespace/name`; a text without a slash is a name.
    pub fn of_text(text: &str) -> Self {
        let (namespace, name) = text.split_once('/').unwrap_or(("", text));
        Self::new(namespace, name)
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Accepted, not yet running.
    #[default]
    Pending,
    /// Running.
    Running,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly.
    Failed,
    /// Anything else, including a lost node.
    Unknown,
}

/// `spec.restartPolicy` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always, which is the default.
    #[default]
    Always,
    /// After failure.
    OnFailure,
    /// Never.
    Never,
}

/// That an object is being deleted, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// `metadata.deletionTimestamp`, seconds since the epoch. For pods it already includes the grace period.
    pub at: i64,
    /// `metadata.deletionGracePeriodSeconds`.
    pub grace: u32,
}

/// The owner reference of an object that has `controller: true`, or the object it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Group and version, for example `apps/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name, in the same namespace.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// Where kubelet has a pod from: `api`, `file` or `http`.
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// A pod, as far as its addresses are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: PodKey,
    /// UID.
    pub uid: String,
    /// `spec.nodeName`.
    pub node: String,
    /// Labels.
    pub labels: Texts,
    /// Annotations.
    pub annotations: Texts,
    /// `status.phase`.
    pub phase: Phase,
    /// `status.reason` is `Evicted`.
    pub evicted: bool,
    /// `spec.restartPolicy`.
    pub restart: RestartPolicy,
    /// Set when it is being deleted.
    pub deletion: Option<Deletion>,
    /// Its controller.
    pub controller: Option<Controller>,
    /// `status.podIPs` is not empty.
    pub has_ips: bool,
    /// `spec.hostNetwork`.
    pub host_network: bool,
}

impl Pod {
    /// A pending pod without anything special, on a node.
    pub fn new(key: PodKey, uid: impl Into<String>, node: impl Into<String>) -> Self {
        Self {
            key,
            uid: uid.into(),
            node: node.into(),
            labels: Texts::new(),
            annotations: Texts::new(),
            phase: Phase::Pending,
            evicted: false,
            restart: RestartPolicy::Always,
            deletion: None,
            controller: None,
            has_ips: false,
            host_network: false,
        }
    }

    /// A static pod: kubelet has it from a file, the container runtime knows it by the UID of that file, and the API server by a mirror with a
    /// UID of its own, which changes whenever somebody deletes the mirror.
    pub fn is_static(&self) -> bool {
        self.annotations.get(CONFIG_SOURCE).is_some_and(|source| source != "api")
    }

    /// Whether a container runtime that names this UID means this pod. Without a UID, and of a static pod, it is taken on trust.
    pub fn is_meant_by(&self, uid: &str) -> bool {
        uid.is_empty() || uid == self.uid || self.is_static()
    }

    /// Whether it may hold addresses on the ground that it runs or will run (spec/spiderpool.md 7.1, step 1).
    pub fn is_alive(&self) -> bool {
        self.why_not_alive().is_none()
    }

    /// What keeps it from getting addresses.
    pub fn why_not_alive(&self) -> Option<&'static str> {
        match self.phase {
            _ if self.deletion.is_some() => Some("it is being deleted"),
            Phase::Succeeded if self.restart != RestartPolicy::Always => Some("it has succeeded"),
            Phase::Failed if self.evicted => Some("it was evicted"),
            Phase::Failed if self.restart == RestartPolicy::Never => Some("it has failed"),
            _ => None,
        }
    }
}

/// What decides whether a pod of a StatefulSet, or of a virtual machine, keeps its addresses while it is away
/// (spec/spiderpool.md 9.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FixedOwner {
    /// A StatefulSet that exists: pods `<name>-<n>` with n from `start` are wanted.
    StatefulSet {
        /// Name.
        name: String,
        /// `spec.ordinals.start`, 0 if unset.
        start: u32,
        /// `spec.replicas`, 1 if unset.
        replicas: u32,
    },
    /// A virtual machine instance that exists and is not being deleted, or is owned by a virtual machine that
    /// exists and is not being deleted.
    VirtualMachine,
    /// The owner is gone, or going.
    Gone,
}

impl FixedOwner {
    /// Whether the pod of that name still is wanted.
    pub fn wants(&self, pod: &str) -> bool {
        match self {
            Self::Gone => false,
            Self::VirtualMachine => true,
            Self::StatefulSet { name, start, replicas } => {
                let ordinal = pod.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-'));
                let ordinal =
                    ordinal.and_then(|text| text.parse::<u32>().ok().filter(|n| n.to_string() == text));
                ordinal.is_some_and(|n| n >= *start && n - start < *replicas)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateful_set_wants_its_ordinals() {
        let set = FixedOwner::StatefulSet { name: "db".to_owned(), start: 2, replicas: 3 };
        let wanted: Vec<u32> = (0..7).filter(|n| set.wants(&format!("db-{n}"))).collect();
        assert_eq!(wanted, [2, 3, 4]);
        for other in ["db", "db-", "db-x", "db-02", "db-+3", "dbx-3", "db-3-3"] {
            assert!(!set.wants(other), "{other}");
        }
    }

    #[test]
    fn a_static_pod_is_meant_by_the_uid_of_its_file() {
        let mut pod = Pod::new(PodKey::new("a", "b"), "u", "n");
        assert!(pod.is_meant_by("u") && pod.is_meant_by("") && !pod.is_meant_by("file"));
        pod.annotations.insert(CONFIG_SOURCE.to_owned(), "api".to_owned());
        assert!(!pod.is_static() && !pod.is_meant_by("file"));
        pod.annotations.insert(CONFIG_SOURCE.to_owned(), "file".to_owned());
        assert!(pod.is_static() && pod.is_meant_by("file"));
    }

    #[test]
    fn who_is_alive() {
        let mut pod = Pod::new(PodKey::new("a", "b"), "u", "n");
        assert!(pod.is_alive());
        pod.phase = Phase::Succeeded;
        assert!(pod.is_alive(), "restartPolicy Always starts it again");
        pod.restart = RestartPolicy::OnFailure;
        assert!(!pod.is_alive());
        pod.phase = Phase::Failed;
        assert!(pod.is_alive());
        pod.evicted = true;
        assert!(!pod.is_alive());
        pod.phase = Phase::Running;
        pod.deletion = Some(Deletion { at: 1, grace: 30 });
        assert!(!pod.is_alive());
    }

    #[test]
    fn keys_print_what_they_read() {
        for text in ["a/b", "b", "a/b/c"] {
            assert_eq!(PodKey::of_text(text).to_string(), text);
        }
    }
}
