//! flannel's daemon against the embedded API server, or a real one where its programs are, and the real kernel, in namespaces of its own.
//! Where the machine forbids namespaces, the tests say that they are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Config as KubeConfig, config};
use polynic_agent::flannel::{Config, run};
use polynic_control_plane::ControlPlane;
use polynic_flannel::rules::RuleOptions;
use polynic_flannel::{Keys, NetConf, Selection, Settings};
use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::{Address, Change, IfName, Link, LinkKind, Needs, Place};
use polynic_runtime::Shutdown;
use serde_json::{Value, json};

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}

const DEFAULT: &str = "flannel.alpha.coreos.com";

struct World {
    client: Client,
    directory: tempfile::TempDir,
    kernel: Box<dyn Kernel>,
    server: Option<ApiServer>,
}

enum ApiServer {
    Embedded(polynic_apiserver::Running),
    Real(Arc<ControlPlane>),
}

impl ApiServer {
    fn kubeconfig(&self) -> config::Kubeconfig {
        match self {
            Self::Embedded(server) => config::Kubeconfig::from_yaml(server.kubeconfig()).unwrap(),
            Self::Real(plane) => config::Kubeconfig::read_from(plane.kubeconfig_path()).unwrap(),
        }
    }
}

impl World {
    /// The calling thread is in a fresh namespace; threads that it starts are too.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut kernel = RealDoor::default().open(None).unwrap();
        let eth1: IfName = "eth1".parse().unwrap();
        for change in [
            Change::up(Place::Host, &IfName::loopback()),
            Change::create_link(
                Place::Host,
                Link::new(eth1.clone(), LinkKind::Bridge { vlan_filtering: false }),
            ),
            Change::up(Place::Host, &eth1),
            Change::add_address(Place::Host, Address::new(&eth1, "192.168.10.1/24".parse().unwrap())),
        ] {
            kernel.apply(&change).unwrap();
        }
        let server = serve(directory.path(), None).await;
        let options = config::KubeConfigOptions::default();
        let config = KubeConfig::from_custom_kubeconfig(server.kubeconfig(), &options).await.unwrap();
        let client = Client::try_from(config).unwrap();
        Self { client, directory, kernel, server: Some(server) }
    }

    /// The API server goes, and answers where it can be reached when it comes back.
    async fn stop_server(&mut self) -> std::net::SocketAddr {
        let Some(ApiServer::Embedded(server)) = self.server.take() else { panic!("a real server stays") };
        let address = server.addr();
        server.shutdown().await;
        address
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn create(&self, name: &str, cidr: &str, annotations: Value) {
        let node = json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        self.nodes().create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    }

    fn config(&self, prefix: &str, vni: u32, file: &str) -> Config {
        let conf = format!(r#"{{"Network": "10.233.0.0/16", "Backend": {{"Type": "vxlan", "VNI": {vni}}}}}"#);
        Config {
            node: "node1".to_owned(),
            settings: Settings {
                conf: NetConf::parse(conf.as_bytes()).unwrap(),
                keys: Keys::new(prefix).unwrap(),
                selection: Selection { interfaces: vec!["eth1".to_owned()], ..Selection::default() },
                rules: RuleOptions { forward: true, masquerade: true, random: true },
                blackhole: false,
                secret: None,
            },
            subnet_file: self.path(file),
            set_network_available: true,
            resync: Duration::from_secs(5),
            health: None,
            seed: u64::from(vni),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join("run").join(file)
    }

    /// Routes by a tunnel as text.
    fn routes(&mut self, tunnel: &str) -> Vec<String> {
        let mut needs = Needs::default();
        needs.host.routes = true;
        let routes = self.kernel.observe(&needs).unwrap().host.routes;
        let by =
            routes.iter().filter(|r| r.gw.is_some() && r.link.as_ref().is_some_and(|l| l.as_str() == tunnel));
        by.map(ToString::to_string).collect()
    }

    /// Where the tunnel's packets go.
    fn endpoints(&mut self) -> Vec<String> {
        let mut needs = Needs::default();
        needs.host.forwarding_of(&"flannel.1".parse().unwrap());
        let entries = self.kernel.observe(&needs).unwrap().host.forwarding;
        entries.iter().map(|entry| entry.dst.to_string()).collect()
    }

    async fn until<T>(&mut self, what: &str, mut look: impl AsyncFnMut(&mut Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn serve(directory: &Path, at: Option<std::net::SocketAddr>) -> ApiServer {
    if let Some(plane) = polynic_control_plane::current() {
        return ApiServer::Real(plane);
    }
    let mut config = polynic_apiserver::Config::new(directory.join("api"));
    config.listen = at.unwrap_or(config.listen);
    ApiServer::Embedded(polynic_apiserver::Server::start(config).await.unwrap())
}

fn peer(prefix: &str, vni: u32, number: u8) -> Value {
    let key = |name: &str| {
        Keys::new(prefix).map(|keys| keys.managed().replace("kube-subnet-manager", name)).unwrap()
    };
    json!({
        key("kube-subnet-manager"): "true",
        key("backend-type"): "vxlan",
        key("backend-data"): format!(r#"{{"VNI":{vni},"VtepMAC":"a2:00:00:00:00:{number:02x}"}}"#),
        key("public-ip"): format!("192.168.10.{number}"),
    })
}

/// The annotations of the node, once its network is said to be there.
async fn is_up(world: &mut World) -> Option<std::collections::BTreeMap<String, String>> {
    let node = world.nodes().get("node1").await.unwrap();
    let conditions = node.status.unwrap_or_default().conditions.unwrap_or_default();
    let up = conditions.iter().any(|c| c.type_ == "NetworkUnavailable" && c.status == "False");
    node.metadata.annotations.filter(|_| up)
}

fn in_runtime(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

fn says(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[test]
fn a_node_gets_its_subnet_tells_the_others_and_follows_the_cluster() {
    let Some(_scratch) = polynic_kernel::testing::scratch_netns() else { return };
    in_runtime(async || {
        let mut world = World::new().await;
        world.create("node1", "10.233.1.0/24", json!({})).await;
        world.create("node2", "10.233.2.0/24", peer(DEFAULT, 1, 2)).await;
        let shutdown = Shutdown::default();
        let config = world.config(DEFAULT, 1, "subnet.env");
        let daemon = tokio::spawn(run(config, world.client.clone(), shutdown.clone()));
        let path = world.path("subnet.env");
        let text = world.until("there is no subnet.env", async |_| says(&path)).await;
        assert_eq!(
            text,
            "FLANNEL_NETWORK=10.233.0.0/16\nFLANNEL_SUBNET=10.233.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        );
        assert_eq!(world.routes("flannel.1"), ["10.233.2.0/24 via 10.233.2.0 dev flannel.1"]);
        // What others hear of it.
        let told = world.until("the node is not annotated", is_up).await;
        assert_eq!(told[&format!("{DEFAULT}/public-ip")], "192.168.10.1");
        let data = told[&format!("{DEFAULT}/backend-data")].clone();
        assert!(data.starts_with(r#"{"VNI":1,"VtepMAC":""#), "{data}");
        // A node moves, one comes, one goes.
        let moved = json!({"metadata": {"annotations": peer(DEFAULT, 1, 22)}});
        world.nodes().patch("node2", &PatchParams::default(), &Patch::Merge(&moved)).await.unwrap();
        world.create("node3", "10.233.3.0/24", peer(DEFAULT, 1, 3)).await;
        world
            .until("node3 is not known", async |world| (world.routes("flannel.1").len() == 2).then_some(()))
            .await;
        world.nodes().delete("node2", &DeleteParams::default()).await.unwrap();
        let left = ["10.233.3.0/24 via 10.233.3.0 dev flannel.1"];
        world
            .until("node2 is not forgotten", async |world| (world.routes("flannel.1") == left).then_some(()))
            .await;
        // Somebody else writes the own annotations: they come back.
        let wrong = json!({"metadata": {"annotations": {format!("{DEFAULT}/public-ip"): "203.0.113.1"}}});
        world.nodes().patch("node1", &PatchParams::default(), &Patch::Merge(&wrong)).await.unwrap();
        world
            .until("the annotation does not come back", async |world| {
                let node = world.nodes().get("node1").await.unwrap();
                let annotations = node.metadata.annotations.unwrap_or_default();
                (annotations[&format!("{DEFAULT}/public-ip")] == "192.168.10.1").then_some(())
            })
            .await;
        // The node joins again, as a new object that knows nothing.
        world.nodes().delete("node1", &DeleteParams::default()).await.unwrap();
        world.create("node1", "10.233.1.0/24", json!({})).await;
        let again = world.until("the new object is not annotated", is_up).await;
        assert_eq!(again[&format!("{DEFAULT}/backend-data")], data);
        shutdown.trigger();
        daemon.await.unwrap().unwrap();
        assert_eq!(world.routes("flannel.1"), left, "packets go on without a daemon");
    });
}

#[test]
fn two_daemons_on_one_node_have_nothing_in_common() {
    let Some(_scratch) = polynic_kernel::testing::scratch_netns() else { return };
    in_runtime(async || {
        let mut world = World::new().await;
        let mut both = peer(DEFAULT, 1, 2);
        both.as_object_mut().unwrap().extend(peer("net.acme.io/b", 7, 92).as_object().unwrap().clone());
        world.create("node1", "10.233.1.0/24", json!({})).await;
        world.create("node2", "10.233.2.0/24", both).await;
        let shutdown = Shutdown::default();
        let first = world.config(DEFAULT, 1, "subnet.env");
        let mut second = world.config("net.acme.io/b", 7, "b/subnet.env");
        // The same subnets by two tunnels: each has its own route, and none replaces the other's.
        second.settings.conf =
            NetConf::parse(br#"{"Network": "10.232.0.0/15", "Backend": {"Type": "vxlan", "VNI": 7}}"#)
                .unwrap();
        let daemons =
            [first, second].map(|config| tokio::spawn(run(config, world.client.clone(), shutdown.clone())));
        world
            .until("the node is not annotated by both", async |world| {
                let annotations =
                    world.nodes().get("node1").await.unwrap().metadata.annotations.unwrap_or_default();
                let has = |key: &str| annotations.contains_key(key);
                (has(&format!("{DEFAULT}/backend-data")) && has("net.acme.io/b-backend-data")).then_some(())
            })
            .await;
        let files = [world.path("subnet.env"), world.path("b/subnet.env")];
        world
            .until("a subnet.env is missing", async |_| files.iter().all(|file| file.exists()).then_some(()))
            .await;
        let mut needs = Needs::default();
        needs.host.links = polynic_net::LinkNeed::All;
        let links = world.kernel.observe(&needs).unwrap().host.links;
        let mut vnis: Vec<u32> = links.iter().filter_map(|l| l.vxlan.as_ref()).map(|v| v.vni).collect();
        vnis.sort_unstable();
        assert_eq!(vnis, [1, 7]);
        for tunnel in ["flannel.1", "flannel.7"] {
            let expected = [format!("10.233.2.0/24 via 10.233.2.0 dev {tunnel}")];
            world
                .until("a tunnel has no route", async |world| {
                    (world.routes(tunnel) == expected).then_some(())
                })
                .await;
        }
        shutdown.trigger();
        for daemon in daemons {
            daemon.await.unwrap().unwrap();
        }
    });
}

#[test]
fn without_api_server_the_node_keeps_its_ways_and_afterwards_it_hears_what_it_missed() {
    let Some(_scratch) = polynic_kernel::testing::scratch_netns() else { return };
    in_runtime(async || {
        let mut world = World::new().await;
        world.create("node1", "10.233.1.0/24", json!({})).await;
        world.create("node2", "10.233.2.0/24", peer(DEFAULT, 1, 2)).await;
        let shutdown = Shutdown::default();
        let config = world.config(DEFAULT, 1, "subnet.env");
        let daemon = tokio::spawn(run(config, world.client.clone(), shutdown.clone()));
        let way = ["10.233.2.0/24 via 10.233.2.0 dev flannel.1"];
        world
            .until("node2 is not known", async |world| (world.routes("flannel.1") == way).then_some(()))
            .await;
        let address = world.stop_server().await;
        world.kernel.delete_links(Place::Host, &["flannel.1".parse().unwrap()]).unwrap();
        world
            .until("the tunnel does not come back", async |world| {
                (world.routes("flannel.1") == way).then_some(())
            })
            .await;
        world.server = Some(serve(world.directory.path(), Some(address)).await);
        world
            .until("node2 cannot be deleted", async |world| {
                world.nodes().delete("node2", &DeleteParams::default()).await.ok().map(drop)
            })
            .await;
        world
            .until("node2 is not forgotten", async |world| world.routes("flannel.1").is_empty().then_some(()))
            .await;
        shutdown.trigger();
        daemon.await.unwrap().unwrap();
    });
}

#[test]
fn a_daemon_that_starts_without_api_server_leaves_all_in_place_and_catches_up_later() {
    let Some(_scratch) = polynic_kernel::testing::scratch_netns() else { return };
    in_runtime(async || {
        let mut world = World::new().await;
        world.create("node1", "10.233.1.0/24", json!({})).await;
        for number in [2, 3] {
            world
                .create(&format!("node{number}"), &format!("10.233.{number}.0/24"), peer(DEFAULT, 1, number))
                .await;
        }
        let start = |world: &World| {
            let shutdown = Shutdown::default();
            let config = world.config(DEFAULT, 1, "subnet.env");
            (tokio::spawn(run(config, world.client.clone(), shutdown.clone())), shutdown)
        };
        let (daemon, shutdown) = start(&world);
        let ways = [2, 3].map(|n| format!("10.233.{n}.0/24 via 10.233.{n}.0 dev flannel.1"));
        world
            .until("nodes are not known", async |world| (world.routes("flannel.1") == ways).then_some(()))
            .await;
        let path = world.path("subnet.env");
        let file = world.until("there is no subnet.env", async |_| says(&path)).await;
        shutdown.trigger();
        daemon.await.unwrap().unwrap();
        // While nobody looks, one node goes, one gets another address; then the API server goes.
        world.nodes().delete("node2", &DeleteParams::default()).await.unwrap();
        let moved = json!({"metadata": {"annotations": {format!("{DEFAULT}/public-ip"): "192.168.10.33"}}});
        world.nodes().patch("node3", &PatchParams::default(), &Patch::Merge(&moved)).await.unwrap();
        let address = world.stop_server().await;
        let (daemon, shutdown) = start(&world);
        // It tries several times, and somebody hangs up each time; what is there stays.
        let nobody = tokio::net::TcpListener::bind(address).await.unwrap();
        for _ in 0..3 {
            drop(nobody.accept().await.unwrap());
        }
        drop(nobody);
        assert_eq!(world.routes("flannel.1"), ways);
        assert_eq!(says(&path), Some(file.clone()));
        world.server = Some(serve(world.directory.path(), Some(address)).await);
        world
            .until("what was missed is not in place", async |world| {
                let is_so = world.routes("flannel.1") == ways[1..] && world.endpoints() == ["192.168.10.33"];
                is_so.then_some(())
            })
            .await;
        assert_eq!(says(&path), Some(file));
        shutdown.trigger();
        daemon.await.unwrap().unwrap();
    });
}

polynic_control_plane::on_a_real_server!(
    a_node_gets_its_subnet_tells_the_others_and_follows_the_cluster,
    two_daemons_on_one_node_have_nothing_in_common,
);

/// A server for each: it must be where the test is.
#[test]
fn a_real_api_server_is_served_in_the_same_way() {
    polynic_control_plane::each_on_a_real_server(ON_A_REAL_SERVER);
}
