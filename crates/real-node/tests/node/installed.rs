//! Nodes on which we are installed as users do it: by manifests, as pods of the image, which a real kubelet runs.

use std::collections::BTreeSet;

use polynic_real_node::{Cluster, IMAGE, Leftovers, Manifests, Node, Shipped, wait};
use serde_json::{Value, json};

use crate::cluster::{NADS, PODS, rows};

pub(crate) const DAEMON_SETS: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets";
pub(crate) const SYSTEM_PODS: &str = "/api/v1/namespaces/kube-system/pods";
pub(crate) const MULTUS: &str = "kube-multus-ds";

/// A cluster, and what its nodes had before we came.
pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    files: Vec<String>,
}

impl Bed {
    pub(crate) fn or_skip() -> Option<Self> {
        let cluster = Cluster::without_us_or_skip()?;
        let files = cluster.nodes.iter().map(files).collect();
        cluster.nodes.iter().for_each(|node| node.load(&Shipped::of_this_tree().image));
        Some(Self { cluster, files })
    }

    /// A second network, one object for each node: host-local knows its own node only.
    pub(crate) fn define_networks(&self) {
        let api = &self.cluster.api;
        wait::until("the kind is served", || api.serves(NADS).then_some(()), String::new);
        for (nth, node) in self.cluster.nodes.iter().enumerate() {
            let range = json!({"subnet": "192.168.50.0/24", "rangeStart": format!("192.168.50.1{nth}0"),
                               "rangeEnd": format!("192.168.50.1{nth}9")});
            let config = json!({"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0",
                                "ipam": {"type": "host-local", "ranges": [[range]]}});
            let nad = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                             "metadata": {"name": format!("lan-{}", node.name())},
                             "spec": {"config": config.to_string()}});
            api.create(NADS, &nad);
        }
    }

    /// Runtimes have loaded our configuration: until then pods get the default network alone.
    pub(crate) fn multus_is_loaded(&self) {
        for node in &self.cluster.nodes {
            let loaded = || node.cri.networks().iter().any(|name| name == "multus-cni-network").then_some(());
            wait::until("multus is loaded", loaded, || self.cluster.last_words());
        }
    }

    /// The configuration of thin mode, a list from version 1.0.0 on, has taken the other one's place.
    pub(crate) fn is_thin(&self) {
        for node in &self.cluster.nodes {
            // As runtimes sort them.
            let files = ["00-multus.conf", "00-multus.conflist"]
                .map(|name| node.space.outside("/etc/cni/net.d").join(name));
            let is_thin = || {
                let text = files.iter().find_map(|file| std::fs::read(file).ok())?;
                let conf: Value = serde_json::from_slice(&text).unwrap();
                (conf["type"] == "multus" || conf["plugins"][0]["type"] == "multus").then_some(())
            };
            wait::until("multus is thin", is_thin, || self.cluster.last_words());
        }
    }

    /// One pod on each node.
    pub(crate) fn create_pods(&self, name: &str, network: impl Fn(&str) -> String) {
        for node in self.cluster.nodes.iter().map(Node::name) {
            let networks = network(node);
            let pod = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{name}-{node}"), "annotations": {"k8s.v1.cni.cncf.io/networks": networks}},
                "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1,
                         "automountServiceAccountToken": false, "enableServiceLinks": false,
                         "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "Never"}]}});
            self.cluster.api.create(PODS, &pod);
        }
    }

    /// All pods run, none without its second network; no address is there twice, and pods of both nodes reach each other over both networks.
    pub(crate) fn all_have_both(&self) {
        let api = &self.cluster.api;
        let explain = || format!("{:#?}\n{}", api.list(PODS), self.cluster.last_words());
        let running = || {
            let pods = api.list(PODS);
            pods.iter().all(|pod| pod["status"]["phase"] == "Running").then_some(pods)
        };
        let pods = wait::until("the pods run", running, explain);
        let said: Vec<Vec<Value>> = pods.iter().map(rows).collect();
        assert!(said.iter().all(|rows| rows.len() == 2), "{said:#?}\n{}", self.cluster.last_words());
        let addresses: BTreeSet<&str> =
            said.iter().flatten().map(|row| row["ips"][0].as_str().unwrap()).collect();
        assert_eq!(addresses.len(), 2 * pods.len(), "{said:#?}");
        self.reach_each_other();
    }

    fn reach_each_other(&self) {
        let [one, two] = [0, 1].map(|nth| self.cluster.nodes[nth].pods());
        let (netns, own) = one.iter().find(|(_, links)| links.contains_key("net1")).unwrap();
        let (_, other) = two.iter().find(|(_, links)| links.contains_key("net1")).unwrap();
        for (interface, addresses) in other {
            assert_ne!(own[interface], *addresses);
            let netns = netns.rsplit('/').next().unwrap();
            let ping =
                ["netns", "exec", netns, "ping", "-c", "1", "-W", "10", "-I", interface, &addresses[0]];
            self.cluster.nodes[0].space.run("ip", &ping);
        }
    }

    /// All pods go, and nothing of them stays.
    pub(crate) fn delete_pods(&self, before: &[Leftovers]) {
        self.delete_all_pods();
        for (node, before) in self.cluster.nodes.iter().zip(before) {
            let left = || Leftovers::observe(&node.space).since(before);
            let clean = || left().is_empty().then_some(());
            wait::until("nothing is left", clean, || format!("{:#?}\n{}", left(), node.last_words()));
        }
    }

    /// All pods go, and so do their sandboxes.
    pub(crate) fn delete_all_pods(&self) {
        let api = &self.cluster.api;
        for pod in api.list(PODS) {
            api.delete(PODS, pod["metadata"]["name"].as_str().unwrap());
        }
        let gone = || api.list(PODS).is_empty().then_some(());
        wait::until("the pods are gone", gone, || self.cluster.last_words());
        // kubelet ends them on its own time.
        for node in &self.cluster.nodes {
            let ended = || node.pods().iter().all(|(_, links)| !links.contains_key("net1")).then_some(());
            wait::until("their sandboxes have ended", ended, || node.last_words());
        }
    }

    pub(crate) fn observe(&self) -> Vec<Leftovers> {
        self.cluster.nodes.iter().map(|node| Leftovers::observe(&node.space)).collect()
    }

    /// No pod of the system runs any more; that of a finished Job may still be listed.
    pub(crate) fn wait_until_off(&self) {
        let has_ended = |pod: &Value| pod["status"]["phase"] == "Succeeded";
        let gone = || self.cluster.api.list(SYSTEM_PODS).iter().all(has_ended).then_some(());
        wait::until("our pods have ended", gone, || self.cluster.last_words());
    }

    /// By hand, as the documentation says.
    pub(crate) fn uninstall(&self) {
        for node in &self.cluster.nodes {
            node.space.run("/opt/cni/bin/polynic", &["uninstall"]);
        }
    }

    /// Of each node: paths of files that are there and were not before an installation.
    pub(crate) fn new_files(&self) -> Vec<Vec<String>> {
        let new = |(node, before): (&Node, &String)| {
            let files = files(node);
            let new = files.lines().filter(|line| line.starts_with("f ") && !before.contains(line));
            new.filter_map(|line| line.split(' ').nth(3)).map(str::to_owned).collect()
        };
        self.cluster.nodes.iter().zip(&self.files).map(new).collect()
    }

    /// Nothing of an installation is left.
    pub(crate) fn is_as_before(&self) {
        for (node, before) in self.cluster.nodes.iter().zip(&self.files) {
            assert_eq!(&files(node), before, "{}", node.name());
        }
    }
}

/// Whatever an installation could have changed.
fn files(node: &Node) -> String {
    let places = ["/etc/cni", "/opt", "/run/multus", "/run/flannel"];
    let script = format!("find {} -printf '%y %m %s %p %l\\n' 2> /dev/null | sort -k4", places.join(" "));
    node.space.run("bash", &["-c", &script])
}

pub(crate) fn lan(node: &str) -> String {
    format!("lan-{node}")
}

#[test]
fn multus_is_installed_by_our_manifests_changes_its_mode_and_is_taken_off() {
    let Some(bed) = Bed::or_skip() else { return };
    let api = &bed.cluster.api;
    Manifests::ours("multus-daemonset-thick.yaml").apply(api);
    bed.cluster.settled(DAEMON_SETS, MULTUS);
    bed.multus_is_loaded();
    let before = bed.observe();
    bed.define_networks();
    bed.create_pods("thick", lan);
    bed.all_have_both();

    // Daemons end one after the other while pods come.
    let thin = Manifests::ours("multus-daemonset-thin.yaml");
    thin.apply(api);
    bed.create_pods("between", lan);
    bed.cluster.settled(DAEMON_SETS, MULTUS);
    bed.is_thin();
    bed.create_pods("thin", lan);
    bed.all_have_both();
    bed.delete_pods(&before);

    thin.delete(api);
    bed.wait_until_off();
    bed.uninstall();
    bed.is_as_before();
}
