//! A control plane and nodes on one link, in machines of their own.

use std::net::Ipv4Addr;
use std::path::Path;

use polynic_api::{nad, spider};
use polynic_control_plane::{ControlPlane, Controllers, NodePrograms, Programs};
use serde_json::Value;

use crate::api::Api;
use crate::node::{self, Mode, Node, Plan};
use crate::space::Space;
use crate::tools::{Tools, skip};
use crate::wait;

/// The control plane's address on the link.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 1);

/// A cluster; everything in it ends with it.
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its administrator.
    pub api: Api,
    _controllers: Controllers,
    _plane: ControlPlane,
    _space: Space,
}

impl Cluster {
    /// A cluster with two nodes that are ready, the first in thin and the second in thick mode, and our kinds. Its network becomes that of the calling thread. If something is missing
    /// here, the test that asks is to be skipped: says why, and answers `None`.
    ///
    /// # Panics
    /// Something does not start; or something is missing while `POLYNIC_REQUIRE_TIERS` names the tier `node`.
    pub fn or_skip() -> Option<Self> {
        let _tools = Tools::or_skip()?;
        match Programs::find().and_then(|plane| Ok((plane, NodePrograms::find()?))) {
            Ok((plane, programs)) => Some(Self::start(&plane, &programs)),
            Err(why) => {
                skip(&why);
                None
            }
        }
    }

    fn start(programs: &Programs, node_programs: &NodePrograms) -> Self {
        let space = Space::new("control-plane");
        space.ip(&format!(
            "link add link0 type bridge\naddress add {ADDRESS}/24 dev link0\nlink set link0 up"
        ));
        space.netns().enter().unwrap();
        let plane = ControlPlane::start_at(programs, ADDRESS).unwrap();
        let controllers = Controllers::start(node_programs, &plane).unwrap();
        let kubeconfig = plane.kubeconfig_path();
        let api = Api::new(&kubeconfig);
        define_kinds(&api);
        let nodes = start_nodes(&node_programs.kubelet, &kubeconfig);
        let cluster = Self { nodes, api, _controllers: controllers, _plane: plane, _space: space };
        let ready = || cluster.are_nodes_ready().then_some(());
        wait::until("both nodes are ready", ready, || cluster.last_words());
        cluster
    }

    fn are_nodes_ready(&self) -> bool {
        let nodes = self.api.list("/api/v1/nodes");
        let ready =
            nodes.iter().filter(|node| condition(node, "Ready").is_some_and(|status| status == "True"));
        ready.count() == self.nodes.len()
    }

    /// The end of all logs, for people.
    pub fn last_words(&self) -> String {
        self.nodes.iter().map(Node::last_words).collect()
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
fn start_nodes(kubelet: &Path, kubeconfig: &Path) -> Vec<Node> {
    let modes = [(1, Mode::Thin), (2, Mode::Thick)];
    let nodes = modes.map(|(nth, mode)| Node::start(Plan { nth, mode, kubelet, kubeconfig }));
    for (own, other) in [(0, 2), (1, 1)] {
        nodes[own].space.ip(&format!("route add 10.244.{other}.0/24 via {}", node::address(other)));
    }
    nodes.into()
}
