//! The life of an attachment: ADD, CHECK, DEL, DEL again, and every way in which DEL may be called with less than it wants.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polynic_e2e::{Call, Node, Pod, State};
use polynic_kernel::netns::unpin;
use serde_json::{Value, json};

/// `host-local` over these subnets, with data in the node's directory.
pub(crate) fn host_local(node: &Node, subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|s| json!([{ "subnet": s }])).collect();
    json!({"type": "host-local", "dataDir": node.directory(), "ranges": ranges})
}

/// Takes away something that DEL could use.
type Spoil = fn(&Pod, Call) -> Call;

/// A configuration of network `net`.
pub(crate) fn conf(plugin: &str, keys: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": plugin});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

/// Where the records of a pod are.
pub(crate) fn records(id: &str) -> PathBuf {
    Path::new("/run/polynic/attachments").join(id)
}

/// A node and what is on it that attachments share and DEL therefore leaves: lines with one of these words.
pub(crate) struct Place<'a> {
    pub(crate) node: &'a Node,
    pub(crate) shared: &'a [&'a str],
}

impl Place<'_> {
    fn own_state(&self) -> State {
        self.node.state().without(self.shared)
    }

    /// ADD: the pod then has exactly these lines more, leaving out settings; CHECK agrees.
    pub(crate) fn attach(&self, pod: &Pod, call: &Call, expected: &[&str]) -> Value {
        let before = pod.state();
        let result = call.add();
        let after = pod.state();
        let mut new: Vec<String> =
            after.diff(&before).into_iter().filter(|l| !l.contains("sysctl ")).collect();
        new.sort();
        let mut expected: Vec<String> = expected.iter().map(|l| format!("+{l}")).collect();
        expected.sort();
        assert_eq!(new, expected, "what ADD of {} made", call.conf);
        assert_eq!(call.check(&result).silent(), "", "CHECK of {}", call.conf);
        assert_macs(&result, &after, &self.node.state());
        result
    }

    /// DEL twice; nothing is left of the attachment.
    pub(crate) fn detach(&self, pod: &Pod, call: &Call, before: &(State, State)) {
        call.del();
        self.assert_nothing_left(pod, before, "after DEL");
        pod.state().assert_same(&before.1, "the pod after DEL");
        call.del();
    }

    /// The states to come back to.
    pub(crate) fn before(&self, pod: &Pod) -> (State, State) {
        (self.own_state(), pod.state())
    }

    pub(crate) fn assert_nothing_left(&self, pod: &Pod, before: &(State, State), when: &str) {
        self.own_state().assert_same(&before.0, when);
        self.assert_forgotten(&pod.id, when);
    }

    /// ADD, then DEL with less and less to go by. `make` makes the call for a pod.
    pub(crate) fn deletes_with_whatever_is_left(&self, make: impl Fn(&Pod) -> Call) {
        let cases: [(&str, Spoil); 5] = [
            ("empty CNI_NETNS", |_, call| call.without("CNI_NETNS")),
            ("vanished netns", |pod, call| {
                unpin(Path::new(&pod.path)).unwrap();
                call
            }),
            ("no record", |pod, call| {
                fs::remove_dir_all(records(&pod.id)).unwrap();
                call
            }),
            ("no record, vanished netns", |pod, call| {
                fs::remove_dir_all(records(&pod.id)).unwrap();
                unpin(Path::new(&pod.path)).unwrap();
                call
            }),
            ("netns is a plain file", |pod, call| {
                unpin(Path::new(&pod.path)).unwrap();
                fs::write(&pod.path, "").unwrap();
                call
            }),
        ];
        for (what, prepare) in cases {
            let pod = Pod::new();
            let before = self.before(&pod);
            make(&pod).add();
            let call = prepare(&pod, make(&pod));
            for _ in 0..2 {
                assert_eq!(call.run("DEL").silent(), "", "{what}");
            }
            let id = pod.id.clone();
            // Where DEL was told of no namespace, links may stay until the pod's is gone.
            drop(pod);
            self.assert_settles(&before.0, what);
            self.assert_forgotten(&id, what);
        }
    }

    /// Namespaces are taken down by the kernel some time after their last user is gone.
    fn assert_settles(&self, before: &State, when: &str) {
        for _ in 0..100 {
            if self.own_state() == *before {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.own_state().assert_same(before, when);
    }

    fn assert_forgotten(&self, id: &str, when: &str) {
        let named: Vec<String> =
            self.node.state().lines().iter().filter(|l| l.contains(id)).cloned().collect();
        assert!(named.is_empty(), "{when}: {named:?}");
        assert_eq!(self.node.addresses_held("net"), [""; 0], "{when}");
        assert!(!records(id).exists(), "{when}: {:?}", records(id));
    }
}

/// What the result says about MACs is what the kernel says.
fn assert_macs(result: &Value, pod: &State, node: &State) {
    for interface in result["interfaces"].as_array().into_iter().flatten() {
        let (name, mac) =
            (interface["name"].as_str().unwrap(), interface["mac"].as_str().unwrap_or_default());
        let place = if interface["sandbox"].is_string() { pod } else { node };
        if !mac.is_empty() {
            assert_eq!(place.mac(name), mac, "MAC of {name}");
        }
    }
}
