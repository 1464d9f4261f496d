//! SIGKILL in the middle of ADD: DEL, or the next ADD and DEL, leaves nothing but what attachments share.

use std::thread::sleep;
use std::time::{Duration, Instant};

use polynic_e2e::{Call, Node, Pod, State};
use serde_json::{Value, json};

use crate::life::{conf, host_local, records};

/// For each plugin.
const KILLS: u32 = 60;

/// A sequence that is as good as random for choosing moments, and the same in each run.
fn jitter(kill: u32) -> f64 {
    f64::from(kill.wrapping_mul(2_654_435_761) >> 8) / f64::from(1_u32 << 24)
}

struct Victim<'a> {
    node: &'a Node,
    conf: Value,
    /// Words of lines about shared objects.
    shared: &'a [&'a str],
}

impl Victim<'_> {
    fn call(&self, pod: &Pod) -> Call {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.id);
        Call::new(pod, self.conf.clone()).with("CNI_ARGS", &args)
    }

    fn state(&self) -> State {
        self.node.state().without(self.shared)
    }

    /// How long a whole ADD takes here, now.
    fn duration(&self, pod: &Pod) -> Duration {
        let call = self.call(pod);
        let start = Instant::now();
        call.add();
        let duration = start.elapsed();
        call.del();
        duration
    }

    fn die_often(&self) {
        let pod = Pod::new();
        let before = (self.state(), pod.state().without(&["sysctl"]));
        let duration = self.duration(&pod).min(self.duration(&pod));
        let call = self.call(&pod);
        for kill in 0..KILLS {
            let moment = duration.mul_f64(1.1 * (f64::from(kill) + jitter(kill)) / f64::from(KILLS));
            let running = call.start("ADD");
            sleep(moment);
            running.kill();
            if kill % 2 == 1 {
                let result = call.add();
                assert_eq!(call.check(&result).silent(), "", "after a kill at {moment:?} of {duration:?}");
            }
            call.del();
            self.assert_clean(&pod, &before, &format!("kill {kill} at {moment:?} of {duration:?}"));
        }
    }

    fn assert_clean(&self, pod: &Pod, before: &(State, State), when: &str) {
        self.state().assert_same(&before.0, when);
        pod.state().without(&["sysctl"]).assert_same(&before.1, when);
        assert_eq!(self.node.addresses_held("net"), [""; 0], "{when}");
        assert!(!records(&pod.id).exists(), "{when}: {:?}", records(&pod.id));
    }
}

#[test]
fn macvlan() {
    let Some(node) = Node::new() else { return };
    let conf = conf("macvlan", json!({"master": "eth0", "ipam": host_local(&node, &["192.168.1.0/24"])}));
    Victim { node: &node, conf, shared: &[] }.die_often();
}

#[test]
fn bridge() {
    let Some(node) = Node::new() else { return };
    let ipam = host_local(&node, &["10.5.0.0/24"]);
    let keys =
        json!({"bridge": "br5", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true, "ipam": ipam});
    let shared = ["br5", "ip_forward", "table inet cni_plugins_masquerade", "table bridge nat"];
    Victim { node: &node, conf: conf("bridge", keys), shared: &shared }.die_often();
    let masquerade = node.state();
    assert!(masquerade.starting("nft").iter().all(|line| !line.contains("net1")), "{masquerade:?}");
}

#[test]
fn ptp() {
    let Some(node) = Node::new() else { return };
    let keys = json!({"ipMasq": true, "ipam": host_local(&node, &["10.6.0.0/24"])});
    let shared = ["ip_forward", "table inet cni_plugins_masquerade"];
    Victim { node: &node, conf: conf("ptp", keys), shared: &shared }.die_often();
}

#[test]
fn calico_like() {
    let Some(node) = Node::new() else { return };
    let ipam = host_local(&node, &["10.244.0.0/24", "fd00:244::/64"]);
    let shared = ["ip_forward", "forwarding=", "accept_ra"];
    Victim { node: &node, conf: conf("calico-like", json!({"ipam": ipam})), shared: &shared }.die_often();
}
