//! Where the programs of the control plane are.

use std::env;
use std::path::{Path, PathBuf};

/// Version of Kubernetes that `scripts/control-plane.sh` builds.
const VERSION: &str = "v1.35.4";

/// The programs of a control plane.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `etcd`.
    pub etcd: PathBuf,
    /// `kube-apiserver`.
    pub kube_apiserver: PathBuf,
}

impl Programs {
    /// Finds them, or says which one is missing and where it was looked for.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn find() -> Result<Self, String> {
        let directories = directories();
        Ok(Self {
            etcd: search("etcd", &directories)?,
            kube_apiserver: search("kube-apiserver", &directories)?,
        })
    }

    /// Finds them. If one is missing, the test that asks is to be skipped: says why, and answers `None`.
    ///
    /// # Panics
    /// If `POLYNIC_REQUIRE_TIERS` names the tier `cluster`, which forbids skipping.
    pub fn or_skip() -> Option<Self> {
        let why = match Self::find() {
            Ok(programs) => return Some(programs),
            Err(why) => why,
        };
        let required = env::var("POLYNIC_REQUIRE_TIERS").unwrap_or_default();
        assert!(!required.split(',').any(|tier| tier == "cluster"), "the tier cluster must run: {why}");
        eprintln!("skipped: {why}");
        None
    }
}

/// Finds `kube-controller-manager`. If it is missing, the test that asks is to be skipped: says why, and answers `None`.
pub fn controller_manager_or_skip() -> Option<PathBuf> {
    search("kube-controller-manager", &directories()).inspect_err(|why| eprintln!("skipped: {why}")).ok()
}

/// What makes a cluster of a control plane: somebody who decides, and somebody who runs pods.
#[derive(Debug, Clone)]
pub struct NodePrograms {
    /// `kube-controller-manager`.
    pub kube_controller_manager: PathBuf,
    /// `kube-scheduler`.
    pub kube_scheduler: PathBuf,
    /// `kubelet`.
    pub kubelet: PathBuf,
}

impl NodePrograms {
    /// Finds them, or says which one is missing and where it was looked for.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn find() -> Result<Self, String> {
        let directories = directories();
        let find = |name| search(name, &directories);
        Ok(Self {
            kube_controller_manager: find("kube-controller-manager")?,
            kube_scheduler: find("kube-scheduler")?,
            kubelet: find("kubelet")?,
        })
    }
}

/// In this order: what the user says, what was built, what the system has.
fn directories() -> Vec<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let cache = env::var_os("POLYNIC_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache/polynic")));
    let built = cache.map(|cache| cache.join("control-plane").join(VERSION).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    assets.into_iter().chain(built).chain(env::split_paths(&path)).collect()
}

fn search(name: &str, directories: &[PathBuf]) -> Result<PathBuf, String> {
    let found = directories.iter().map(|directory| directory.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        format!("there is no {name} in KUBEBUILDER_ASSETS, the cache or PATH: run scripts/control-plane.sh")
    })
}
