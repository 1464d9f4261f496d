//! Pods, their users, and the kubelets that start and stop them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::World;
use super::world::{Occurrence, Open};
use crate::{
    AddRequest, Answer, Controller, Deletion, Event, Grant, Phase, Pod, PodKey, ReleaseKind, ReleaseRequest,
    RequestId, annotation,
};

/// A pod on its node.
#[derive(Clone, Debug)]
pub(super) struct SimPod {
    pub(super) key: PodKey,
    pub(super) uid: String,
    pub(super) node: usize,
    nics: Vec<&'static str>,
    ipv4: Vec<String>,
    ipv6: Vec<String>,
    stage: Stage,
    /// What its sandbox uses, by interface.
    pub(super) in_use: BTreeMap<String, Vec<IpAddr>>,
    /// What each interface was given last, as long as it is not given back.
    given: BTreeMap<String, Vec<IpAddr>>,
    /// Users want it gone.
    leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The interface of this index is next to be added, or on its way.
    Starting(usize),
    /// A probe of an address failed; it is being given back.
    Probing,
    Running,
    /// The interface of this index is next to be deleted, or on its way.
    Stopping(usize),
}

/// What a kubelet does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum KubeletStep {
    /// Goes on where it is.
    GoOn,
    /// Stops the sandbox and starts another.
    Restart,
    /// Stops the pod.
    Stop,
}

impl SimPod {
    pub(super) fn is_settled(&self) -> bool {
        self.stage == Stage::Running
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.in_use.values().flatten().copied().collect()
    }
}

impl World {
    pub(super) fn users_act(&mut self) {
        let wait = 1 + self.below(30);
        self.after(wait, Occurrence::Users);
        if !self.lively {
            return;
        }
        if self.one_in_thousand(10) {
            let replicas = self.below(4) as u32;
            self.set_replicas(replicas);
        }
        let name = self.below(self.options.names as u64);
        let key = if name < 3 {
            PodKey::new("sim", format!("db-{name}"))
        } else {
            PodKey::new("sim", format!("p{name}"))
        };
        let exists = self.api.pods.contains_key(&key);
        match self.below(10) {
            _ if !exists => self.create_pod(key, name),
            0 => self.force_delete(&key),
            1..=4 => self.delete_pod(&key, 3),
            5 => self.restart(&key),
            _ => {}
        }
    }

    fn create_pod(&mut self, key: PodKey, name: u64) {
        if name < 3 && name >= u64::from(self.replicas) {
            return;
        }
        self.next += 1;
        let uid = format!("u{}", self.next);
        let node = self.below(self.nodes.len() as u64) as usize;
        let mut pod = Pod::new(key.clone(), uid.as_str(), format!("n{node}"));
        if name < 3 {
            let text = |text: &str| text.to_owned();
            pod.controller = Some(Controller {
                api_version: text("apps/v1"),
                kind: text("StatefulSet"),
                name: text("db"),
                uid: text("s"),
            });
        }
        let (nics, ipv4, ipv6) = self.networks_of(name, &mut pod);
        self.api.put_pod(pod);
        let stage = Stage::Starting(0);
        let (in_use, given) = (BTreeMap::new(), BTreeMap::new());
        self.pods.insert(
            uid.clone(),
            SimPod { key, uid: uid.clone(), node, nics, ipv4, ipv6, stage, in_use, given, leaving: false },
        );
        let wait = self.below(20);
        self.after(wait, Occurrence::Kubelet { uid, step: KubeletStep::GoOn });
    }

    /// Interfaces and pools of a pod: one or two, of one family or two, named by the network or by annotations.
    fn networks_of(&mut self, name: u64, pod: &mut Pod) -> (Vec<&'static str>, Vec<String>, Vec<String>) {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let mut annotate =
            |text: &str| pod.annotations.insert(annotation::IPPOOLS.to_owned(), text.to_owned());
        match name % 6 {
            0 => (vec!["eth0"], list(&["green", "blue"]), Vec::new()),
            1 => (vec!["eth0", "net1"], list(&["blue"]), list(&["six"])),
            2 => (vec!["eth0"], list(&["blue"]), list(&["six"])),
            3 => {
                annotate(
                    r#"[{"interface":"eth0","ipv4":["blue"]},{"interface":"net1","ipv4":["green","blue"]}]"#,
                );
                (vec!["eth0", "net1"], Vec::new(), Vec::new())
            }
            4 => {
                annotate(r#"[{"ipv4":["blue"]},{"ipv6":["six"]},{"ipv6":["six"]}]"#);
                (vec!["eth0", "net1", "net2"], Vec::new(), Vec::new())
            }
            _ => (vec!["net1"], list(&["b*", "g*"]), Vec::new()),
        }
    }

    pub(super) fn delete_pod(&mut self, key: &PodKey, grace: u32) {
        let Some(pod) = self.api.pods.get(key).filter(|pod| pod.deletion.is_none()) else { return };
        let uid = pod.uid.clone();
        let at = i64::try_from(self.now.0 / 1000).unwrap_or_default() + i64::from(grace);
        self.api.delete_pod(key, Deletion { at, grace });
        let wait = self.below(50);
        self.after(wait, Occurrence::Kubelet { uid, step: KubeletStep::Stop });
    }

    /// The object goes at once; the kubelet finds out later.
    fn force_delete(&mut self, key: &PodKey) {
        let Some(uid) = self.api.pods.get(key).map(|pod| pod.uid.clone()) else { return };
        self.api.remove_pod(key);
        self.dirty = true;
        let wait = self.below(300);
        self.after(wait, Occurrence::Kubelet { uid, step: KubeletStep::Stop });
    }

    fn restart(&mut self, key: &PodKey) {
        if let Some(uid) = self.api.pods.get(key).map(|pod| pod.uid.clone()) {
            self.after(1, Occurrence::Kubelet { uid, step: KubeletStep::Restart });
        }
    }

    pub(super) fn kubelet(&mut self, uid: &str, step: KubeletStep) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        match step {
            KubeletStep::Stop => pod.leaving = true,
            KubeletStep::Restart if pod.stage == Stage::Running && !pod.leaving => {
                pod.in_use.clear();
                pod.stage = Stage::Starting(0);
            }
            KubeletStep::Restart => return,
            KubeletStep::GoOn => {}
        }
        self.go_on(uid);
    }

    /// Sends the next request, unless one is under way.
    fn go_on(&mut self, uid: &str) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let node = pod.node;
        if self.nodes[node].open.values().any(|open| open.uid == uid) {
            return;
        }
        if pod.leaving && !matches!(pod.stage, Stage::Stopping(_)) {
            // The sandbox goes before its addresses do.
            pod.in_use.clear();
            pod.stage = Stage::Stopping(0);
            self.dirty = true;
        }
        let pod = pod.clone();
        match pod.stage {
            Stage::Running => {}
            Stage::Starting(nic) => self.add(&pod, pod.nics[nic]),
            Stage::Probing => self.give_back(&pod, pod.nics[0], ReleaseKind::Probe),
            Stage::Stopping(nic) => self.give_back(&pod, pod.nics[nic], ReleaseKind::Pod),
        }
    }

    fn add(&mut self, pod: &SimPod, nic: &str) {
        let deadline = self.deadline();
        let request = AddRequest {
            pod: pod.key.clone(),
            uid: pod.uid.clone(),
            container_id: "c".to_owned(),
            nic: nic.to_owned(),
            default_ipv4_pools: pod.ipv4.clone(),
            default_ipv6_pools: pod.ipv6.clone(),
            clean_gateway: false,
            master_addresses: None,
            deadline,
        };
        self.request(pod, deadline, |id| Event::Add(id, request));
    }

    fn give_back(&mut self, pod: &SimPod, nic: &str, kind: ReleaseKind) {
        let deadline = self.deadline();
        let request = release(pod, nic, kind, deadline);
        self.request(pod, deadline, |id| Event::Release(id, request));
    }

    fn deadline(&mut self) -> crate::Millis {
        let patience = if self.lively { 50 + self.below(2_000) } else { 20_000 };
        self.now.plus(patience)
    }

    fn request(&mut self, pod: &SimPod, deadline: crate::Millis, event: impl FnOnce(RequestId) -> Event) {
        self.next += 1;
        self.tally.requests += 1;
        let id = RequestId(self.next);
        let node = pod.node;
        self.nodes[node].open.insert(id, Open { uid: pod.uid.clone(), deadline });
        let life = self.nodes[node].life;
        self.inform(node, life, event(id));
    }

    /// A release from disk; the caller does not wait.
    pub(super) fn replay(&mut self, node: usize, key: &PodKey, uid: &str) {
        self.next += 1;
        let deadline = self.now.plus(5_000);
        let request = ReleaseRequest {
            pod: key.clone(),
            uid: uid.to_owned(),
            container_id: "c".to_owned(),
            nic: String::new(),
            kind: ReleaseKind::Pod,
            deadline,
        };
        let life = self.nodes[node].life;
        self.inform(node, life, Event::Release(RequestId(self.next), request));
    }

    pub(super) fn answered(&mut self, node: usize, id: RequestId, answer: Answer) {
        let Some(open) = self.nodes[node].open.remove(&id) else { return };
        self.dirty = true;
        let Some(pod) = self.pods.get(&open.uid) else { return };
        match (pod.stage, answer) {
            (Stage::Starting(nic), Answer::Granted(grant)) => self.granted(&open.uid, nic, &grant),
            (Stage::Starting(_) | Stage::Running, _) => self.start_again(&open.uid),
            // If it failed, some may have been given back.
            (Stage::Probing, _) => {
                if let Some(pod) = self.pods.get_mut(&open.uid) {
                    pod.given.clear();
                }
                self.start_again(&open.uid);
            }
            (Stage::Stopping(nic), Answer::Released) => self.stopped(&open.uid, nic),
            (Stage::Stopping(nic), _) => self.journal(&open.uid, nic),
        }
    }

    fn granted(&mut self, uid: &str, nic: usize, grant: &Grant) {
        self.tally.granted += 1;
        let probe_fails = self.lively && self.one_in_thousand(20);
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let name = pod.nics[nic];
        let own = grant.addresses.iter().filter(|granted| granted.nic == name);
        let own: Vec<IpAddr> = own.map(|granted| granted.address.addr()).collect();
        if own.is_empty() {
            self.broken = Some(format!("pod {} got no address for {name}: {grant:?}", pod.key));
            return;
        }
        // Without its endpoint, and with its records stripped of interfaces, a pod's interfaces may swap addresses.
        let excused = self.unlisted.contains(&pod.key);
        if let Some(before) = pod.given.get(name).filter(|before| **before != own && !excused) {
            self.broken = Some(format!("pod {} had {before:?} on {name} and gets {own:?}", pod.key));
        }
        pod.given.insert(name.to_owned(), own.clone());
        if probe_fails {
            pod.in_use.clear();
            pod.stage = Stage::Probing;
        } else {
            pod.in_use.insert(name.to_owned(), own);
            pod.stage = if nic + 1 < pod.nics.len() { Stage::Starting(nic + 1) } else { Stage::Running };
        }
        if pod.stage == Stage::Running
            && let Some(object) = self.api.pods.get_mut(&pod.key).filter(|object| object.uid == uid)
        {
            object.phase = Phase::Running;
            object.has_ips = true;
        }
        self.later(uid, 5);
    }

    fn start_again(&mut self, uid: &str) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.in_use.clear();
            pod.stage = Stage::Starting(0);
        }
        self.later(uid, 300);
    }

    fn later(&mut self, uid: &str, up_to: u64) {
        let wait = 1 + self.below(up_to);
        self.after(wait, Occurrence::Kubelet { uid: uid.to_owned(), step: KubeletStep::GoOn });
    }

    fn stopped(&mut self, uid: &str, nic: usize) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if nic + 1 < pod.nics.len() {
            pod.stage = Stage::Stopping(nic + 1);
            return self.go_on_now(uid);
        }
        let key = pod.key.clone();
        self.pods.remove(uid);
        if self.api.pods.get(&key).is_some_and(|object| object.uid == uid) {
            self.api.remove_pod(&key);
        }
    }

    fn go_on_now(&mut self, uid: &str) {
        self.later(uid, 1);
    }

    /// The release goes to disk, and the DEL succeeds.
    fn journal(&mut self, uid: &str, nic: usize) {
        if let Some(pod) = self.pods.get(uid) {
            let (node, pod, uid) = (pod.node, pod.key.clone(), pod.uid.clone());
            self.after(1_000, Occurrence::Replay { node, pod, uid });
        }
        self.stopped(uid, nic);
    }

    /// The agent crashed under a request.
    pub(super) fn connection_lost(&mut self, uid: &str) {
        self.dirty = true;
        match self.pods.get(uid).map(|pod| pod.stage) {
            Some(Stage::Stopping(nic)) => self.journal(uid, nic),
            // Whether the addresses were given back is not known.
            Some(Stage::Probing) => {
                if let Some(pod) = self.pods.get_mut(uid) {
                    pod.given.clear();
                }
                self.start_again(uid);
            }
            Some(_) => self.start_again(uid),
            None => {}
        }
    }
}

fn release(pod: &SimPod, nic: &str, kind: ReleaseKind, deadline: crate::Millis) -> ReleaseRequest {
    ReleaseRequest {
        pod: pod.key.clone(),
        uid: pod.uid.clone(),
        container_id: "c".to_owned(),
        nic: nic.to_owned(),
        kind,
        deadline,
    }
}
