//! Uninstalling: the node is as it was before polynic came.
//!
//! Pods keep their networks: interfaces, routes and the caches of results stay, so that a runtime that still knows us, or the program that
//! follows us, can delete them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{self, FileError};
use crate::generate::is_multus;
use crate::programs::Programs;

/// Directories of a node, as the uninstaller sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Of CNI plugins.
    pub programs: PathBuf,
    /// Of CNI configurations.
    pub configurations: PathBuf,
    /// Those that manifests make; they go if nothing is in them.
    pub made: Vec<PathBuf>,
}

/// Inner ones first. The socket's directory is empty once no daemon runs.
const MADE: [&str; 3] = ["etc/cni/multus/net.d", "etc/cni/multus", "run/multus"];

impl Node {
    /// The usual directories below a root, which is `/` on the node itself and `/host` in most manifests.
    pub fn below(root: &Path) -> Self {
        Self {
            programs: root.join("opt/cni/bin"),
            configurations: root.join("etc/cni/net.d"),
            made: MADE.map(|path| root.join(path)).to_vec(),
        }
    }

    /// Takes everything off. The configuration goes first: from then on the runtime uses the default network's own.
    ///
    /// # Errors
    /// Something cannot be removed; everything else was tried.
    pub fn uninstall(&self) -> Result<(), FileError> {
        let configured = ["00-multus.conf", "00-multus.conflist"].map(|name| self.remove_configuration(name));
        let [first, second] = configured;
        let credentials = self.remove_credentials();
        let programs = Programs::new(&self.programs).uninstall();
        for directory in &self.made {
            let _ = fs::remove_dir(directory);
        }
        first.and(second).and(credentials).and(programs)
    }

    /// Somebody else may use the name.
    fn remove_configuration(&self, name: &str) -> Result<(), FileError> {
        let path = self.configurations.join(name);
        match files::read(&path)? {
            Some(bytes) if is_multus(&bytes) => files::remove(&path),
            _ => Ok(()),
        }
    }

    fn remove_credentials(&self) -> Result<(), FileError> {
        let directory = self.configurations.join("multus.d");
        files::remove(&directory.join("multus.kubeconfig"))?;
        // What users have put there stays, and the directory with it.
        let _ = fs::remove_dir(&directory);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::contents;
    use crate::thin::{Entrypoint, Options, Parsed};
    use crate::watch::Stop;
    use std::time::Duration;

    /// A node on which Multus and Spiderpool are installed.
    fn node_of_others(root: &Path) -> Node {
        let node = Node::below(root);
        for directory in [&node.programs, &node.configurations] {
            fs::create_dir_all(directory).unwrap();
        }
        for name in ["multus", "spiderpool", "coordinator", "ifacer", "macvlan", "calico"] {
            fs::write(node.programs.join(name), format!("the other {name}")).unwrap();
        }
        let calico = r#"{"cniVersion":"0.3.1","name":"k8s-pod-network","plugins":[{"type":"calico"}]}"#;
        fs::write(node.configurations.join("10-calico.conflist"), calico).unwrap();
        node
    }

    fn run_thin(node: &Node, root: &Path) {
        let account = root.join("account");
        fs::create_dir_all(&account).unwrap();
        for name in ["token", "ca.crt"] {
            fs::write(account.join(name), name).unwrap();
        }
        fs::write(root.join("polynic"), "polynic").unwrap();
        let flags = [
            format!("--cni-bin-dir={}", node.programs.display()),
            format!("--cni-conf-dir={}", node.configurations.display()),
            format!("--multus-autoconfig-dir={}", node.configurations.display()),
            format!("--multus-bin-file={}", root.join("polynic").display()),
            format!("--multus-cni-conf-dir={}", root.join("networks").display()),
        ];
        let Ok(Parsed::Run(options)) = Options::parse(flags) else { panic!("the flags") };
        let environment = Box::new(|_: &str| Some("1".to_owned()));
        let entrypoint =
            Entrypoint { options: *options, environment, service_account: account, moment: Duration::ZERO };
        let (stopper, stop) = Stop::pair().unwrap();
        drop(stopper);
        entrypoint.run(&stop).unwrap();
    }

    #[test]
    fn a_node_of_multus_and_spiderpool_is_taken_over_and_given_back() {
        let root = tempfile::tempdir().unwrap();
        let host = root.path().join("host");
        let node = node_of_others(&host);
        let before = contents(&host);
        run_thin(&node, root.path());
        node.made.iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
        let names = ["multus", "spiderpool", "coordinator", "ifacer", "router"];
        Programs::new(&node.programs).install(&root.path().join("polynic"), names).unwrap();
        assert_eq!(fs::read(node.programs.join("spiderpool")).unwrap(), b"polynic");
        assert_eq!(fs::read(node.programs.join("macvlan")).unwrap(), b"the other macvlan");
        assert!(node.configurations.join("00-multus.conf").exists());
        node.uninstall().unwrap();
        assert_eq!(contents(&host), before);
        assert!(!node.configurations.join("multus.d").exists());
        assert!(node.made.iter().all(|directory| !directory.exists()));
        node.uninstall().unwrap();
        assert_eq!(contents(&host), before);
    }

    #[test]
    fn what_users_have_put_beside_our_files_stays() {
        let root = tempfile::tempdir().unwrap();
        let node = Node::below(root.path());
        fs::create_dir_all(node.configurations.join("multus.d")).unwrap();
        fs::write(node.configurations.join("multus.d/daemon-config.json"), "{}").unwrap();
        fs::write(node.configurations.join("00-multus.conf"), r#"{"type":"somebody-elses"}"#).unwrap();
        fs::create_dir_all(root.path().join("etc/cni/multus/net.d")).unwrap();
        fs::write(root.path().join("etc/cni/multus/net.d/lan.conf"), "{}").unwrap();
        let before = contents(root.path());
        node.uninstall().unwrap();
        assert_eq!(contents(root.path()), before);
    }
}
