//! The generator against directories in which others are at work.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{GenerateError, Generator, Patience, Settings};
use crate::watch::Stop;

/// Nothing here takes this long unless it is broken.
const BROKEN: Duration = Duration::from_secs(60);

struct Node(TempDir);

impl Node {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: impl AsRef<str>) {
        fs::write(self.path(name), text.as_ref()).unwrap();
    }

    fn output(&self) -> PathBuf {
        self.path("00-multus.conf")
    }

    fn generated(&self) -> Value {
        serde_json::from_slice(&fs::read(self.output()).unwrap()).unwrap()
    }

    fn generator(&self, extra: Value) -> Generator {
        let mut config = json!({"cniVersion": "1.0.0", "cniConfigDir": self.0.path()});
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let settings = Settings::read(config.to_string().as_bytes()).unwrap();
        let short = Duration::from_millis(50);
        Generator::with_patience(settings, Patience { readiness: short, primary: short, moment: short })
    }

    /// Runs the generator while the work is done.
    fn while_kept(&self, extra: Value, work: impl FnOnce()) {
        let (stopper, stop) = Stop::pair().unwrap();
        let mut generator = self.generator(extra);
        generator.prepare(&stop).unwrap();
        thread::scope(|scope| {
            let kept = scope.spawn(move || generator.keep(&stop));
            eventually("the first file", || self.output().exists());
            work();
            drop(stopper);
            kept.join().unwrap().unwrap();
        });
    }
}

fn list(name: &str, capability: &str) -> String {
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": "ptp", "capabilities": {capability: true}}]}).to_string()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < BROKEN, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn prepare(generator: &mut Generator) -> Result<(), GenerateError> {
    let (_stopper, stop) = Stop::pair().unwrap();
    generator.prepare(&stop)
}

fn network(node: &Node) -> String {
    let path = PathBuf::from(node.generated()["clusterNetwork"].as_str().unwrap());
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_changed_primary_is_picked_up_and_a_half_written_one_changes_nothing() {
    let node = Node::new();
    node.put("10-a.conflist", list("a", "bandwidth"));
    node.put("20-b.conflist", list("b", "mac"));
    node.while_kept(json!({}), || {
        assert_eq!(node.generated()["capabilities"], json!({"bandwidth": true}));
        assert_eq!(node.output().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        node.put("10-a.conflist", list("a", "ips"));
        eventually("the new capability", || node.generated()["capabilities"] == json!({"ips": true}));
        node.put("10-a.conflist", "{\"cniVersion\":");
        node.put("05-earlier.conflist", list("e", "mac"));
        // Only what is looked at later can be picked up later: by then the broken one has been seen.
        node.put("10-a.conflist", list("a", "portMappings"));
        eventually("the whole one", || node.generated()["capabilities"] == json!({"portMappings": true}));
        assert_eq!(network(&node), "10-a.conflist");
    });
}

#[test]
fn a_primary_renamed_away_gives_way_to_the_new_one() {
    let node = Node::new();
    node.put("10-calico.conflist", list("k8s-pod-network", "portMappings"));
    node.while_kept(json!({}), || {
        node.put("05-cilium.conflist", list("cilium", "mac"));
        fs::rename(node.path("10-calico.conflist"), node.path("10-calico.conflist.cilium_bak")).unwrap();
        eventually("cilium", || network(&node) == "05-cilium.conflist");
        assert_eq!(node.generated()["capabilities"], json!({"mac": true}));
    });
}

#[test]
fn an_earlier_primary_is_taken_at_the_next_start_and_not_before() {
    let node = Node::new();
    node.put("10-a.conflist", list("a", "bandwidth"));
    node.while_kept(json!({}), || {
        node.put("05-b.conflist", list("b", "mac"));
        node.put("10-a.conflist", list("a", "ips"));
        eventually("the primary as it is now", || node.generated()["capabilities"] == json!({"ips": true}));
        assert_eq!(network(&node), "10-a.conflist");
    });
    node.while_kept(json!({}), || eventually("the earlier one", || network(&node) == "05-b.conflist"));
    assert_eq!(node.generated()["capabilities"], json!({"mac": true}));
}

#[test]
fn the_file_survives_a_restart_untouched_and_is_put_back_when_somebody_takes_it() {
    let node = Node::new();
    node.put("10-a.conflist", list("a", "bandwidth"));
    node.while_kept(json!({}), || {});
    let before = node.output().metadata().unwrap().ino();
    node.while_kept(json!({}), || {
        assert_eq!(node.output().metadata().unwrap().ino(), before);
        fs::rename(node.output(), node.path("00-multus.conf.cilium_bak")).unwrap();
        eventually("put back", || node.output().exists());
        fs::write(node.output(), "").unwrap();
        eventually("mended", || fs::read(node.output()).is_ok_and(|bytes| !bytes.is_empty()));
    });
    assert_eq!(network(&node), "10-a.conflist");
}

#[test]
fn the_other_form_of_our_file_goes_and_only_uninstalling_removes_ours() {
    let node = Node::new();
    node.put("10-a.conflist", list("a", "bandwidth"));
    node.put("00-multus.conflist", r#"{"name":"m","plugins":[{"type":"multus"}]}"#);
    node.while_kept(json!({}), || eventually("one form", || !node.path("00-multus.conflist").exists()));
    assert!(node.output().exists());
    node.while_kept(json!({"cleanupConfigOnExit": true}), || {});
    assert!(!node.output().exists() && node.path("10-a.conflist").exists());
}

#[test]
fn what_cannot_start_has_the_exit_codes_of_the_contract() {
    let node = Node::new();
    let error = prepare(&mut node.generator(json!({}))).unwrap_err();
    let expected = format!("could not find a plugin configuration in {}", node.0.path().display());
    assert!(error.exit_code() == 2 && error.to_string().starts_with(&expected), "{error}");
    node.put("10-a.conf", r#"{"cniVersion":"0.3.1","type":"ptp","name":"n"}"#);
    let error = prepare(&mut node.generator(json!({}))).unwrap_err();
    let expected = "delegate cni version is 0.3.1 while top level cni version is 1.0.0";
    assert!(error.exit_code() == 2 && error.to_string().ends_with(expected), "{error}");
    let error =
        prepare(&mut node.generator(json!({"readinessindicatorfile": node.path("ready")}))).unwrap_err();
    assert!(error.exit_code() == 1 && error.to_string().contains("ready"), "{error}");
    assert!(prepare(&mut node.generator(json!({"cniVersion": "0.3.1"}))).is_ok());
}

#[test]
fn only_the_named_primary_counts() {
    let node = Node::new();
    node.put("10-a.conflist", list("a", "bandwidth"));
    let named = json!({"multusMasterCNI": "20-b.conflist"});
    let error = prepare(&mut node.generator(named.clone())).unwrap_err();
    assert!(error.to_string().ends_with("20-b.conflist is missing"), "{error}");
    node.put("20-b.conflist", list("b", "mac"));
    node.while_kept(named, || assert_eq!(network(&node), "20-b.conflist"));
}

#[test]
fn a_forced_version_is_written_into_the_primary() {
    let node = Node::new();
    node.put("10-a.conf", r#"{"cniVersion":"0.2.0","type":"ptp","name":"n","mtu":1400}"#);
    node.while_kept(json!({"forceCNIVersion": true, "overrideNetworkName": true}), || {});
    let primary: Value = serde_json::from_slice(&fs::read(node.path("10-a.conf")).unwrap()).unwrap();
    assert_eq!(primary, json!({"cniVersion": "1.0.0", "type": "ptp", "name": "n", "mtu": 1400}));
    assert_eq!(node.generated()["name"], "n");
}

#[test]
fn readiness_is_told_and_the_file_stays_when_it_is_lost() {
    let node = Node::new();
    node.put("10-a.conflist", list("a", "bandwidth"));
    node.put("ready", "");
    let extra = json!({"readinessindicatorfile": node.path("ready")});
    let (stopper, stop) = Stop::pair().unwrap();
    let mut generator = node.generator(extra);
    let readiness = generator.readiness();
    assert!(!readiness.is_ready());
    generator.prepare(&stop).unwrap();
    thread::scope(|scope| {
        let kept = scope.spawn(move || generator.keep(&stop));
        eventually("written", || node.output().exists() && readiness.is_ready());
        fs::remove_file(node.path("ready")).unwrap();
        eventually("lost", || !readiness.is_ready());
        assert!(node.output().exists());
        node.put("ready", "");
        eventually("back", || readiness.is_ready());
        drop(stopper);
        kept.join().unwrap().unwrap();
    });
}

#[test]
fn a_users_own_file_is_copied_and_kept() {
    let (node, own) = (Node::new(), tempfile::tempdir().unwrap());
    let file = own.path().join("07-own.conf");
    let text = r#"{ "type": "multus-shim",  "cniVersion": "0.4.0", "clusterNetwork": "/x" }"#;
    fs::write(&file, text).unwrap();
    let (stopper, stop) = Stop::pair().unwrap();
    let mut generator = node.generator(json!({"multusConfigFile": file}));
    generator.prepare(&stop).unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    thread::scope(|scope| {
        let kept = scope.spawn(move || generator.keep(&stop));
        eventually("the copy", || read(&node.path("07-own.conf")) == text);
        fs::write(&file, "{").unwrap();
        fs::write(&file, r#"{"type":"multus-shim"}"#).unwrap();
        eventually("the new copy", || read(&node.path("07-own.conf")) == r#"{"type":"multus-shim"}"#);
        drop(stopper);
        kept.join().unwrap().unwrap();
    });
    assert!(!node.output().exists());
    let error =
        prepare(&mut node.generator(json!({"multusConfigFile": own.path().join("none")}))).unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().ends_with("/none"), "{error}");
}

/// What an unruly installer does to the primary.
fn churn(node: &Node, round: usize) {
    let text = list("a", if round.is_multiple_of(2) { "ips" } else { "mac" });
    let (file, aside) = (node.path("10-a.conflist"), node.path("10-a.conflist.bak"));
    match round % 5 {
        0 => fs::write(&file, &text).unwrap(),
        1 => {
            fs::write(&file, &text[..text.len() / 2]).unwrap();
            thread::yield_now();
            fs::write(&file, &text).unwrap();
        }
        2 => {
            fs::write(&aside, &text).unwrap();
            fs::rename(&aside, &file).unwrap();
        }
        3 => {
            fs::rename(&file, &aside).unwrap();
            fs::rename(&aside, &file).unwrap();
        }
        _ => {
            fs::remove_file(&file).unwrap();
            fs::write(&file, &text).unwrap();
        }
    }
}

#[test]
fn under_churn_and_restarts_every_sample_is_valid() {
    let node = Node::new();
    node.put("10-a.conflist", list("a", "ips"));
    node.while_kept(json!({}), || {});
    let (done, samples) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let bytes = fs::read(node.output()).expect("the file is always there");
                let conf: Value = serde_json::from_slice(&bytes).expect("the file is always whole");
                assert_eq!(conf["type"], "multus-shim");
                assert_eq!(conf["clusterNetwork"], json!(node.path("10-a.conflist")));
                samples.fetch_add(1, Ordering::Relaxed);
            }
        });
        for restart in 0..5 {
            node.while_kept(json!({}), || (0..60).for_each(|round| churn(&node, restart + round)));
            // The next one starts with a whole file, as a node does.
            node.put("10-a.conflist", list("a", "ips"));
        }
        node.put("10-a.conflist", list("a", "bandwidth"));
        node.while_kept(json!({}), || {
            eventually("the last state", || node.generated()["capabilities"] == json!({"bandwidth": true}));
        });
        done.store(true, Ordering::Relaxed);
    });
    assert!(samples.into_inner() > 100);
}
