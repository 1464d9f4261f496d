//! The entry point on a node that is a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Entrypoint, Options, Parsed, ThinError};
use crate::watch::Stop;

/// Nothing here takes this long unless it is broken.
const BROKEN: Duration = Duration::from_secs(60);

const OLD: &str = r#"{"cniVersion":"0.3.1","name":"old","type":"ptp"}"#;
const NEW: &str =
    r#"{"cniVersion":"1.0.0","name":"new","plugins":[{"type":"ptp","capabilities":{"ips":true}}]}"#;

struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        for directory in ["bin", "net.d", "account", "image"] {
            fs::create_dir(node.path(directory)).unwrap();
        }
        node.put("image/multus", "the plugin");
        fs::set_permissions(node.path("image/multus"), fs::Permissions::from_mode(0o755)).unwrap();
        node.put("account/token", "first");
        node.put("account/ca.crt", "authority");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn entrypoint(&self, words: &[&str]) -> Entrypoint {
        let paths = [
            ("cni-bin-dir", "bin"),
            ("cni-conf-dir", "net.d"),
            ("multus-autoconfig-dir", "net.d"),
            ("multus-bin-file", "image/multus"),
            ("multus-cni-conf-dir", "networks"),
        ];
        let paths = paths.map(|(flag, path)| format!("--{flag}={}", self.path(path).display()));
        let words = paths.into_iter().chain(words.iter().map(|word| (*word).to_owned()));
        let Ok(Parsed::Run(options)) = Options::parse(words) else { panic!("the flags") };
        Entrypoint {
            options: *options,
            environment: Box::new(|name| match name {
                "KUBERNETES_SERVICE_HOST" => Some("10.96.0.1".to_owned()),
                "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
                _ => None,
            }),
            service_account: self.path("account"),
            moment: Duration::from_millis(50),
        }
    }

    /// Runs the entry point while the work is done.
    fn run(&self, words: &[&str], work: impl FnOnce()) -> Result<(), ThinError> {
        let (stopper, stop) = Stop::pair().unwrap();
        let entrypoint = self.entrypoint(words);
        thread::scope(|scope| {
            let running = scope.spawn(move || entrypoint.run(&stop));
            work();
            drop(stopper);
            running.join().unwrap()
        })
    }

    fn conf(&self, name: &str) -> Option<Value> {
        serde_json::from_str(&self.read(name)).ok()
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < BROKEN, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn everything_is_put_in_place_with_the_permissions_of_the_contract() {
    let node = Node::new();
    node.put("net.d/10-old.conf", OLD);
    node.run(&[], || eventually("configured", || node.has("net.d/00-multus.conf"))).unwrap();
    assert_eq!(node.read("bin/multus"), "the plugin");
    assert_eq!(mode(&node.path("bin/multus")), 0o755);
    assert_eq!(mode(&node.path("net.d/00-multus.conf")), 0o600);
    assert_eq!(mode(&node.path("net.d/multus.d/multus.kubeconfig")), 0o600);
    assert!(node.read("net.d/multus.d/multus.kubeconfig").contains("token: \"first\""));
    assert!(node.has("networks") && node.has("net.d/10-old.conf"));
    assert_eq!(node.conf("net.d/00-multus.conf").unwrap()["delegates"][0]["name"], "old");
}

#[test]
fn credentials_and_configuration_follow_their_sources() {
    let node = Node::new();
    node.put("net.d/10-net.conflist", OLD);
    node.run(&[], || {
        eventually("configured", || node.has("net.d/00-multus.conf"));
        node.put("account/token", "second");
        eventually("the new token", || node.read("net.d/multus.d/multus.kubeconfig").contains("\"second\""));
        node.put("net.d/10-net.conflist", "{");
        node.put("net.d/10-net.conflist", NEW);
        eventually("the new form", || node.conf("net.d/00-multus.conflist").is_some());
        eventually("one form", || !node.has("net.d/00-multus.conf"));
        fs::remove_file(node.path("account/token")).unwrap();
        fs::remove_file(node.path("net.d/00-multus.conflist")).unwrap();
        node.put("account/token", "third");
        eventually("put back", || node.has("net.d/00-multus.conflist"));
    })
    .unwrap();
    assert!(node.read("net.d/multus.d/multus.kubeconfig").contains("\"third\""));
}

#[test]
fn without_the_watch_the_configuration_stays_but_credentials_are_fresh() {
    let node = Node::new();
    node.put("net.d/10-old.conf", OLD);
    node.run(&["--skip-config-watch"], || {
        eventually("configured", || node.has("net.d/00-multus.conf"));
        node.put("net.d/10-old.conf", NEW);
        node.put("account/token", "second");
        eventually("the new token", || node.read("net.d/multus.d/multus.kubeconfig").contains("\"second\""));
    })
    .unwrap();
    assert!(!node.has("net.d/00-multus.conflist"));
}

#[test]
fn cleaning_up_removes_the_configuration_and_puts_the_master_back() {
    let node = Node::new();
    node.put("net.d/10-old.conf", OLD);
    node.put("net.d/87-other.conf", NEW);
    let words = ["--rename-conf-file", "--cleanup-config-on-exit"];
    node.run(&words, || {
        eventually("put aside", || node.has("net.d/10-old.conf.old") && !node.has("net.d/10-old.conf"));
        // Its owner writes a new one.
        node.put("net.d/10-old.conf", NEW);
        eventually("the new one", || node.has("net.d/00-multus.conflist") && !node.has("net.d/10-old.conf"));
    })
    .unwrap();
    assert!(!node.has("net.d/00-multus.conflist") && !node.has("net.d/00-multus.conf"));
    assert_eq!(node.read("net.d/10-old.conf"), NEW);
    assert!(!node.has("net.d/10-old.conf.old") && node.has("net.d/87-other.conf"));
}

#[test]
fn a_master_that_was_put_aside_is_found_after_a_restart() {
    let node = Node::new();
    node.put("net.d/10-old.conf", OLD);
    let aside = || node.has("net.d/10-old.conf.old") && !node.has("net.d/10-old.conf");
    node.run(&["--rename-conf-file"], || eventually("put aside", aside)).unwrap();
    assert!(node.has("net.d/00-multus.conf"));
    fs::remove_file(node.path("net.d/00-multus.conf")).unwrap();
    let again = || node.has("net.d/00-multus.conf") && aside();
    node.run(&["--rename-conf-file"], || eventually("put aside again", again)).unwrap();
}

#[test]
fn a_users_own_configuration_is_copied_and_cleaned_up() {
    let node = Node::new();
    node.put("image/70-multus.conf", "{\"type\":\"multus\"}\n");
    let file = format!("--multus-conf-file={}", node.path("image/70-multus.conf").display());
    node.run(&[&file], || eventually("copied", || node.has("net.d/70-multus.conf"))).unwrap();
    assert_eq!(node.read("net.d/70-multus.conf"), "{\"type\":\"multus\"}\n");
    node.run(&[&file, "--cleanup-config-on-exit"], || {}).unwrap();
    assert!(!node.has("net.d/70-multus.conf") && !node.has("net.d/00-multus.conf"));
}

#[test]
fn the_default_network_can_be_named_and_everything_be_taken_off_at_the_end() {
    let node = Node::new();
    node.put("bin/multus", "somebody else's");
    let words = ["--cluster-network=calico", "--multus-namespace=infra", "--uninstall-on-exit"];
    let kubeconfig = "/etc/cni/net.d/multus.d/multus.kubeconfig";
    let expected = serde_json::json!({
        "cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus", "confDir": node.path("networks"),
        "logLevel": "debug", "logFile": "", "capabilities": {"bandwidth": true, "portMappings": true}, "namespaceIsolation": false,
        "clusterNetwork": "calico", "defaultNetworks": [], "multusNamespace": "infra", "systemNamespaces": [], "kubeconfig": kubeconfig,
    });
    node.run(&words, || {
        eventually("configured", || node.conf("net.d/00-multus.conf").as_ref() == Some(&expected));
        assert_eq!(node.read("bin/multus"), "the plugin");
    })
    .unwrap();
    assert_eq!(node.read("bin/multus"), "somebody else's");
    assert_eq!(fs::read_dir(node.path("net.d")).unwrap().count(), 0);
    node.put("net.d/10-net.conflist", NEW);
    node.run(&["--cluster-network=auto"], || {
        eventually("its name", || {
            node.conf("net.d/00-multus.conf").is_some_and(|conf| conf["clusterNetwork"] == "new")
        });
    })
    .unwrap();
}

#[test]
fn what_cannot_be_put_in_place_is_named_and_leaves_no_configuration() {
    let node = Node::new();
    let error = |words: &[&str]| node.run(words, || {}).unwrap_err().to_string();
    assert!(error(&[]).contains("there is no configuration"), "{}", error(&[]));
    assert!(error(&["--cni-conf-dir=/nonexistent"]).starts_with("--cni-conf-dir: /nonexistent"));
    assert!(error(&["--multus-conf-file=/nonexistent"]).starts_with("--multus-conf-file: /nonexistent"));
    assert!(error(&["--multus-master-cni-file-name=11-x.conf"]).contains("11-x.conf is missing"));
    node.put("net.d/10-old.conf", OLD);
    assert!(error(&["--cni-version=1.0.0"]).contains("--cni-version asks for 1.0.0"));
    fs::remove_file(node.path("account/token")).unwrap();
    assert!(error(&[]).ends_with("token"));
    assert!(!node.has("net.d/00-multus.conf"));
}
