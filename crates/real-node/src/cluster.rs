//! A control plane and nodes on one link, in machines of their own.

use std::net::Ipv4Addr;

use polynic_api::{nad, spider};
use polynic_control_plane::{ControlPlane, Controllers, NodePrograms, Programs};
use serde_json::Value;

use crate::api::Api;
use crate::helm::Helm;
use crate::node::{self, Mode, Node, Plan};
use crate::space::Space;
use crate::tools::{Tools, skip};
use crate::wait;

/// The control plane's address on the link.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 1);

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

/// A cluster; everything in it ends with it.
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its administrator.
    pub api: Api,
    _controllers: Controllers,
    plane: ControlPlane,
    space: Space,
}

impl Cluster {
    /// A cluster with two nodes that are ready, the first in thin and the second in thick mode, and our kinds. Its network becomes that of the calling thread. If something is missing
    /// here, the test that asks is to be skipped: says why, and answers `None`.
    ///
    /// # Panics
    /// Something does not start; or something is missing while `POLYNIC_REQUIRE_TIERS` names the tier `node`.
    pub fn or_skip() -> Option<Self> {
        let (plane, programs) = Self::programs_or_skip()?;
        let cluster = Self::start(&plane, &programs, [Mode::Thin, Mode::Thick]);
        define_kinds(&cluster.api);
        Some(cluster)
    }

    /// The same with nothing of ours: no agent, no kinds, and the reference plugins on the nodes.
    ///
    /// # Panics
    /// As [`Cluster::or_skip`].
    pub fn without_us_or_skip() -> Option<Self> {
        let (plane, programs) = Self::programs_or_skip()?;
        if polynic_e2e::reference_plugins().is_none() {
            skip(
                "there are no reference plugins (Debian: containernetworking-plugins): run scripts/setup.sh test",
            );
            return None;
        }
        Some(Self::start(&plane, &programs, [Mode::Foreign; 2]))
    }

    fn programs_or_skip() -> Option<(Programs, NodePrograms)> {
        let _tools = Tools::or_skip()?;
        match Programs::find().and_then(|plane| Ok((plane, NodePrograms::find()?))) {
            Ok(programs) => Some(programs),
            Err(why) => {
                skip(&why);
                None
            }
        }
    }

    fn start(programs: &Programs, node_programs: &NodePrograms, modes: [Mode; 2]) -> Self {
        let space = Space::new("control-plane");
        space.ip(&format!(
            "link add link0 type bridge\naddress add {ADDRESS}/24 dev link0\nlink set link0 up"
        ));
        space.netns().enter().unwrap();
        let plane = ControlPlane::start_at(programs, ADDRESS).unwrap();
        let controllers = Controllers::start(node_programs, &plane).unwrap();
        let kubeconfig = plane.kubeconfig_path();
        let api = Api::new(&kubeconfig);
        let plan = |nth, mode| Plan {
            nth,
            mode,
            kubelet: &node_programs.kubelet,
            kubeconfig: &kubeconfig,
            server: plane.addr(),
        };
        let nodes = start_nodes([plan(1, modes[0]), plan(2, modes[1])]);
        let cluster = Self { nodes, api, _controllers: controllers, plane, space };
        let ready = || cluster.are_nodes_ready().then_some(());
        wait::until("both nodes are ready", ready, || cluster.last_words());
        // Pods are refused before.
        let account = || cluster.api.get(ACCOUNTS, "default");
        wait::until("there is a service account", account, String::new);
        cluster
    }

    /// Runs Helm as the cluster's administrator, and answers what it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn helm(&self, helm: &Helm, args: &[&str]) -> String {
        let mut command = self.space.command(helm.program());
        command.args(args).env("KUBECONFIG", self.plane.kubeconfig_path());
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(home, self.space.directory());
        }
        let output = command.output().unwrap();
        let [said, complained] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "helm {args:?}: {complained}\n{}", self.last_words());
        said
    }

    fn are_nodes_ready(&self) -> bool {
        let nodes = self.api.list("/api/v1/nodes");
        let ready =
            nodes.iter().filter(|node| condition(node, "Ready").is_some_and(|status| status == "True"));
        ready.count() == self.nodes.len()
    }

    /// Waits until a DaemonSet, a Deployment or a Job is where its author wants it: all pods are new and ready, or done.
    ///
    /// # Panics
    /// It does not come to that.
    pub fn settled(&self, collection: &str, name: &str) {
        let look = || self.api.get(collection, name).filter(is_settled).map(drop);
        let explain = || format!("{:#?}\n{}", self.api.get(collection, name), self.last_words());
        wait::until(&format!("{name} settles"), look, explain);
    }

    /// The end of all logs, for people.
    pub fn last_words(&self) -> String {
        self.nodes.iter().map(Node::last_words).collect()
    }
}

fn is_settled(object: &Value) -> bool {
    let status = |key: &str| object["status"][key].as_u64().unwrap_or_default();
    let is_seen =
        object["metadata"]["generation"].as_u64() == object["status"]["observedGeneration"].as_u64();
    match object["kind"].as_str() {
        Some("DaemonSet") => {
            let wanted = status("desiredNumberScheduled");
            let all = ["currentNumberScheduled", "updatedNumberScheduled", "numberReady"].map(status);
            is_seen && wanted > 0 && all == [wanted; 3]
        }
        Some("Deployment") => {
            let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
            is_seen && ["replicas", "updatedReplicas", "readyReplicas"].map(status) == [wanted; 3]
        }
        _ => status("succeeded") == object["spec"]["completions"].as_u64().unwrap_or(1),
    }
}

/// The status of a condition of an object.
fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

fn define_kinds(api: &Api) {
    for definition in spider::CRDS.iter().copied().chain([nad::CRD]) {
        let definition: Value = serde_saphyr::from_str(definition).unwrap();
        api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
        let (spec, version) = (&definition["spec"], &definition["spec"]["versions"][0]["name"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let path =
            format!("/apis/{}/{}/{}", text(&spec["group"]), text(version), text(&spec["names"]["plural"]));
        wait::until("the kind is served", || api.serves(&path).then_some(()), || path.clone());
    }
}

/// Both know the way to the other's pods, as a default network would see to.
fn start_nodes(plans: [Plan<'_>; 2]) -> Vec<Node> {
    let nodes = plans.map(Node::start);
    for (own, other) in [(0, 2), (1, 1)] {
        nodes[own].space.ip(&format!("route add 10.244.{other}.0/24 via {}", node::address(other)));
    }
    nodes.into()
}
