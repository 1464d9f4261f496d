//! Addresses by whereabouts' objects: several processes at once, and no address twice.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, ListParams, PostParams};
use polynic_api::whereabouts::{API_VERSION, IP_POOL, NODE_SLICE_POOL, RESERVATION};
use polynic_cluster::client_from;
use polynic_cluster::whereabouts::{Direct, Sliced, Whose, collect, slice};
use polynic_wire::whereabouts::{Whereabouts, WhereaboutsRange, WhereaboutsRequest, WhereaboutsSlice};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

const NAMESPACE: &str = "kube-system";
const POOLS: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools";
const RESERVATIONS: &str =
    "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations";
const SLICES: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/nodeslicepools";
const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/kube-system/network-attachment-definitions";
const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/blue/pods";

struct World {
    kubeconfig: PathBuf,
    runtime: Runtime,
    client: Client,
}

pub(super) fn all(kubeconfig: &Path) {
    let world = World::new(kubeconfig);
    world.objects_are_those_of_the_replaced_program();
    world.a_repeated_request_keeps_its_address();
    world.two_interfaces_of_a_pod_and_two_networks_get_their_own();
    world.several_ranges_are_all_or_nothing();
    world.overlapping_ranges_share_no_address();
    world.a_slice_is_a_pool_of_its_own();
    world.an_old_del_takes_nothing_away();
    world.processes_at_once_give_no_address_twice_and_use_all();
    world.what_pods_left_is_collected();
    world.ranges_are_cut_into_slices();
}

#[test]
fn addresses_are_given_by_the_objects_of_whereabouts() {
    let (_directory, kubeconfig) = super::embedded();
    all(&kubeconfig);
}

fn request(pod: &str, ifname: &str, range: &str) -> WhereaboutsRequest {
    WhereaboutsRequest {
        container_id: format!("c-{pod}"),
        ifname: ifname.into(),
        podref: format!("blue/{pod}"),
        ranges: vec![WhereaboutsRange { range: range.into(), ..WhereaboutsRange::default() }],
        overlapping: true,
        ..WhereaboutsRequest::default()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

impl World {
    fn new(kubeconfig: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(client_from(Some(kubeconfig))).unwrap().unwrap();
        let world = Self { kubeconfig: kubeconfig.to_owned(), runtime, client };
        for kind in [IP_POOL, RESERVATION, NODE_SLICE_POOL] {
            let crd: Value = serde_saphyr::from_str(kind.crd).unwrap();
            world.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
        }
        let end = soon();
        while [POOLS, RESERVATIONS, SLICES].iter().any(|path| world.list(path).is_err()) {
            assert!(Instant::now() < end, "the kinds are not served");
            std::thread::sleep(Duration::from_millis(20));
        }
        // A real server has some of them already.
        for name in ["blue", NAMESPACE] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let _ = world.try_create("/api/v1/namespaces", &namespace);
        }
        world
    }

    fn try_create(&self, path: &str, object: &Value) -> Result<Value, kube::Error> {
        let request =
            Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
        self.runtime.block_on(self.client.request(request))
    }

    fn create(&self, path: &str, object: &Value) -> Value {
        self.try_create(path, object).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    fn get(&self, path: &str, name: &str) -> Option<Value> {
        let request = Request::new(path).get(name, &GetParams::default()).unwrap();
        self.runtime.block_on(self.client.request(request)).ok()
    }

    fn list(&self, path: &str) -> Result<Vec<Value>, kube::Error> {
        let list: Value = self
            .runtime
            .block_on(self.client.request(Request::new(path).list(&ListParams::default()).unwrap()))?;
        Ok(list["items"].as_array().unwrap().clone())
    }

    fn allocations(&self, pool: &str) -> BTreeMap<String, Value> {
        let pool = self.get(POOLS, pool).unwrap();
        serde_json::from_value(pool["spec"]["allocations"].clone()).unwrap()
    }

    fn with(&self, request: WhereaboutsRequest) -> WhereaboutsRequest {
        WhereaboutsRequest { kubeconfig: self.kubeconfig.clone(), ..request }
    }

    fn add(&self, process: &Direct, request: WhereaboutsRequest) -> Result<IpAddr, String> {
        process.allocate(&self.with(request), soon()).map(|ips| ips[0])
    }

    fn del(&self, process: &Direct, request: WhereaboutsRequest) {
        process.release(&self.with(request), soon()).unwrap();
    }

    fn objects_are_those_of_the_replaced_program(&self) {
        let process = Direct::new(1);
        let range = "10.20.0.0/24";
        assert_eq!(self.add(&process, request("web", "net1", range)), Ok("10.20.0.1".parse().unwrap()));
        let pool = self.get(POOLS, "10.20.0.0-24").unwrap();
        let expected = json!({"range": range, "allocations": {"1": {"id": "c-web", "podref": "blue/web", "ifname": "net1"}}});
        assert_eq!(pool["spec"], expected);
        let reservation = self.get(RESERVATIONS, "10.20.0.1").unwrap();
        assert_eq!(reservation["spec"], json!({"podref": "blue/web", "ifname": "net1"}));
        process.check(&self.with(request("web", "net1", range)), soon()).unwrap();
        self.del(&process, request("web", "net1", range));
        assert!(self.allocations("10.20.0.0-24").is_empty());
        assert_eq!(self.get(RESERVATIONS, "10.20.0.1"), None);
        assert!(process.check(&self.with(request("web", "net1", range)), soon()).is_err());
        self.del(&process, request("web", "net1", range));
        self.del(&process, request("web", "net1", "10.99.0.0/24"));
        assert_eq!(self.get(POOLS, "10.99.0.0-24"), None, "a release makes no pool");
    }

    /// Also with what an old release wrote: entries without an interface stay as they are.
    fn a_repeated_request_keeps_its_address(&self) {
        let entry = json!({"id": "old", "podref": "blue/old"});
        let spec = json!({"range": "10.21.0.0/24", "allocations": {"1": entry}});
        let metadata = json!({"name": "10.21.0.0-24", "namespace": NAMESPACE, "labels": {"kept": "yes"}});
        self.create(
            POOLS,
            &json!({"apiVersion": API_VERSION, "kind": IP_POOL.kind, "metadata": metadata, "spec": spec}),
        );
        let process = Direct::new(2);
        let first = self.add(&process, request("web", "net1", "10.21.0.0/24")).unwrap();
        assert_eq!(first.to_string(), "10.21.0.2");
        let again =
            WhereaboutsRequest { container_id: "c-new".into(), ..request("web", "net1", "10.21.0.0/24") };
        assert_eq!(self.add(&process, again), Ok(first));
        let allocations = self.allocations("10.21.0.0-24");
        assert_eq!((&allocations["1"], &allocations["2"]["id"]), (&entry, &json!("c-new")));
        assert_eq!(self.get(POOLS, "10.21.0.0-24").unwrap()["metadata"]["labels"]["kept"], "yes");
    }

    fn two_interfaces_of_a_pod_and_two_networks_get_their_own(&self) {
        let process = Direct::new(3);
        let range = "10.22.0.0/24";
        let one = self.add(&process, request("web", "net1", range)).unwrap();
        let two = self.add(&process, request("web", "net2", range)).unwrap();
        assert_ne!(one, two);
        let named = WhereaboutsRequest { network_name: "blue".into(), ..request("web", "net3", range) };
        assert_eq!(self.add(&process, named), Ok(one), "a space of its own");
        assert_eq!(self.allocations("blue-10.22.0.0-24").len(), 1);
        assert!(self.get(RESERVATIONS, "blue-10.22.0.1").is_some());
    }

    fn several_ranges_are_all_or_nothing(&self) {
        let process = Direct::new(4);
        let both = |pod: &str| {
            let mut request = request(pod, "net1", "10.23.0.0/24");
            request
                .ranges
                .push(WhereaboutsRange { range: "fd00:23::/126".into(), ..WhereaboutsRange::default() });
            request
        };
        let got = process.allocate(&self.with(both("a")), soon()).unwrap();
        assert_eq!(got.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.23.0.1", "fd00:23::1"]);
        process.allocate(&self.with(both("b")), soon()).unwrap();
        let error = process.allocate(&self.with(both("c")), soon()).unwrap_err();
        assert!(error.contains("could not allocate IP in range fd00:23::/126"), "{error}");
        assert_eq!(self.allocations("10.23.0.0-24").len(), 2);
        assert_eq!(self.get(RESERVATIONS, "10.23.0.3"), None);
    }

    fn overlapping_ranges_share_no_address(&self) {
        let process = Direct::new(5);
        let wide = self.add(&process, request("a", "net1", "10.24.0.0/16")).unwrap();
        let narrow = self.add(&process, request("b", "net1", "10.24.0.0/24")).unwrap();
        assert_eq!((wide.to_string(), narrow.to_string()), ("10.24.0.1".into(), "10.24.0.2".into()));
        let careless = WhereaboutsRequest { overlapping: false, ..request("c", "net1", "10.24.0.0/28") };
        assert_eq!(self.add(&process, careless), Ok(wide), "asked for");
    }

    fn a_slice_is_a_pool_of_its_own(&self) {
        let slices = json!([{"nodeName": "n1", "sliceRange": "10.25.0.0/26"}, {"nodeName": "n2", "sliceRange": "10.25.0.64/26"}]);
        self.create(
            SLICES,
            &json!({"apiVersion": API_VERSION, "kind": NODE_SLICE_POOL.kind, "metadata": {"name": "lan", "namespace": NAMESPACE},
                "spec": {"range": "10.25.0.0/24", "sliceSize": "/26"}, "status": {"allocations": slices}}),
        );
        let process = Direct::new(6);
        let on = |node: &str| {
            let slice = Some(WhereaboutsSlice { pool: "lan".into(), node: node.into() });
            WhereaboutsRequest { slice, ..request("web", "net1", "10.25.0.0/24") }
        };
        assert_eq!(self.add(&process, on("n2")), Ok("10.25.0.65".parse().unwrap()));
        assert_eq!(self.allocations("n2-10.25.0.64-26").keys().collect::<Vec<_>>(), ["1"]);
        assert_eq!(self.add(&process, on("n3")), Err("no allocated node slice for node n3".into()));
    }

    /// The DEL of an earlier sandbox comes after the ADD of the next.
    fn an_old_del_takes_nothing_away(&self) {
        let process = Direct::new(7);
        let range = "10.26.0.0/24";
        self.add(&process, request("web", "net1", range)).unwrap();
        let next = WhereaboutsRequest { container_id: "next".into(), ..request("web", "net1", range) };
        self.add(&process, next).unwrap();
        self.del(&process, request("web", "net1", range));
        assert_eq!(self.allocations("10.26.0.0-24").len(), 1);
        assert!(self.get(RESERVATIONS, "10.26.0.1").is_some());
    }

    /// Four agents with many threads each, on two ranges that overlap: churn, then every address of the smaller one is somebody's.
    fn processes_at_once_give_no_address_twice_and_use_all(&self) {
        let processes: Vec<Direct> = (0..4).map(|n| Direct::new(100 + n)).collect();
        let owners: Mutex<BTreeMap<IpAddr, String>> = Mutex::default();
        std::thread::scope(|scope| {
            for n in 0..24usize {
                let (process, owners) = (&processes[n % processes.len()], &owners);
                let kubeconfig = self.kubeconfig.clone();
                scope.spawn(move || {
                    let range = if n % 2 == 0 { "10.27.0.0/26" } else { "10.27.0.0/25" };
                    let of = |round: usize| WhereaboutsRequest {
                        kubeconfig: kubeconfig.clone(),
                        ..request(&format!("p{n}-{round}"), "net1", range)
                    };
                    for round in 0..6 {
                        let ip = process.allocate(&of(round), soon()).unwrap()[0];
                        let before = owners.lock().unwrap().insert(ip, format!("p{n}-{round}"));
                        assert_eq!(before, None, "{ip} has two owners");
                        if round < 5 {
                            owners.lock().unwrap().remove(&ip);
                            process.release(&of(round), soon()).unwrap();
                        }
                    }
                });
            }
        });
        let owners = owners.into_inner().unwrap();
        let recorded = self.allocations("10.27.0.0-26").len() + self.allocations("10.27.0.0-25").len();
        assert_eq!((owners.len(), recorded), (24, 24));
        let reservations = self.list(RESERVATIONS).unwrap();
        let of_range =
            reservations.iter().filter(|r| r["metadata"]["name"].as_str().unwrap().starts_with("10.27."));
        assert_eq!(of_range.count(), 24);
        for n in 24..62usize {
            self.add(&processes[n % 4], request(&format!("p{n}"), "net1", "10.27.0.0/26")).unwrap();
        }
        let error = self.add(&processes[0], request("more", "net1", "10.27.0.0/26")).unwrap_err();
        assert!(error.contains("10.27.0.0/26") && error.contains("in use or excluded"), "{error}");
    }

    fn what_pods_left_is_collected(&self) {
        let process = Direct::new(8);
        let range = "10.28.0.0/24";
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let status = json!([{"name": "lan", "interface": "net1", "ips": ["10.28.0.9"]}]).to_string();
        for (name, annotations) in
            [("alive", json!({})), ("moved", json!({"k8s.v1.cni.cncf.io/network-status": status}))]
        {
            let metadata = json!({"name": name, "namespace": "blue", "annotations": annotations});
            self.create(
                PODS,
                &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
            );
        }
        for pod in ["alive", "moved", "gone"] {
            self.add(&process, request(pod, "net1", range)).unwrap();
        }
        let look = |whose: Whose| {
            self.runtime.block_on(collect(self.client.clone(), NAMESPACE, whose)).unwrap().allocations
        };
        let of = |podrefs: &[&str]| Whose::Of(podrefs.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(look(of(&["blue/alive", "blue/other"])), [], "the others are not looked at");
        let texts = look(Whose::All).iter().map(ToString::to_string).collect::<Vec<_>>();
        let of_range: Vec<&String> = texts.iter().filter(|text| text.starts_with("10.28.")).collect();
        assert_eq!(
            of_range,
            ["10.28.0.0-24: 10.28.0.2 of blue/moved", "10.28.0.0-24: 10.28.0.3 of blue/gone"]
        );
        assert_eq!(self.allocations("10.28.0.0-24").keys().collect::<Vec<_>>(), ["1"]);
        assert!(self.get(RESERVATIONS, "10.28.0.1").is_some());
        assert_eq!(self.get(RESERVATIONS, "10.28.0.3"), None);
        let request = Request::new(PODS)
            .delete("alive", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() });
        let _: Value = self.runtime.block_on(self.client.request(request.unwrap())).unwrap();
        assert_eq!(look(of(&["blue/alive"])).len(), 1);
        assert!(self.allocations("10.28.0.0-24").is_empty());
    }

    fn remove(&self, path: &str, name: &str) {
        let request = Request::new(path).delete(name, &DeleteParams::default()).unwrap();
        self.runtime.block_on(self.client.request_text(request)).unwrap();
    }

    fn cut(&self) -> Sliced {
        let sliced = self.runtime.block_on(slice(self.client.clone(), NAMESPACE)).unwrap();
        assert_eq!(
            self.runtime.block_on(slice(self.client.clone(), NAMESPACE)).unwrap().changed,
            [""; 0],
            "a second look"
        );
        sliced
    }

    fn look_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = soon();
        while !is_so() {
            assert!(Instant::now() < end, "never {what}");
            self.runtime.block_on(slice(self.client.clone(), NAMESPACE)).unwrap();
        }
    }

    /// Nodes and their slices.
    fn slices(&self, pool: &str) -> BTreeMap<String, String> {
        let Some(pool) = self.get(SLICES, pool) else { return BTreeMap::new() };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let slices = pool["status"]["allocations"].as_array().unwrap().iter();
        let taken = slices
            .map(|s| (text(&s["nodeName"]), text(&s["sliceRange"])))
            .filter(|(node, _)| !node.is_empty());
        taken.collect()
    }

    fn network(&self, name: &str, range: &str, size: &str) {
        let ipam = json!({"type": "whereabouts", "range": range, "node_slice_size": size});
        let config = json!({"cniVersion": "1.0.0", "name": "cut", "type": "macvlan", "ipam": ipam});
        self.create(
            NADS,
            &json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"config": config.to_string()}}),
        );
    }

    fn ranges_are_cut_into_slices(&self) {
        let crd: Value = serde_saphyr::from_str(polynic_api::nad::CRD).unwrap();
        // Another test of the same server may have made it.
        let _ = self.try_create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
        let end = soon();
        while self.list(NADS).is_err() {
            assert!(Instant::now() < end, "networks are not served");
            std::thread::sleep(Duration::from_millis(20));
        }
        let node = |name: &str| {
            self.create(NODES, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}));
        };
        // The slices below are those of the only nodes.
        for left in self.list(NODES).unwrap() {
            self.remove(NODES, left["metadata"]["name"].as_str().unwrap());
        }
        ["a", "b"].iter().for_each(|name| node(name));
        self.network("one", "10.90.0.0/24", "/26");
        self.network("two", "10.90.0.0/24", "/26");
        assert_eq!(self.cut(), Sliced { changed: vec!["cut".into()], problems: Vec::new() });
        let slices = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(node, range)| ((*node).to_owned(), (*range).to_owned())).collect()
        };
        assert_eq!(self.slices("cut"), slices(&[("a", "10.90.0.0/26"), ("b", "10.90.0.64/26")]));
        let on = |node: &str| {
            let slice = Some(WhereaboutsSlice { pool: "cut".into(), node: node.into() });
            WhereaboutsRequest { slice, ..request("cut", "net1", "10.90.0.0/24") }
        };
        assert_eq!(self.add(&Direct::new(9), on("b")), Ok("10.90.0.65".parse().unwrap()));
        self.remove(NODES, "a");
        node("c");
        self.cut();
        assert_eq!(self.slices("cut"), slices(&[("b", "10.90.0.64/26"), ("c", "10.90.0.0/26")]));
        self.remove(NADS, "two");
        self.network("two", "10.90.0.0/24", "/27");
        assert!(self.cut().problems[0].contains("have different ranges or sizes"));
        // The server may collect it before we do.
        ["one", "two"].iter().for_each(|name| self.remove(NADS, name));
        self.look_until("gone", || self.get(SLICES, "cut").is_none());
        assert!(self.get(SLICES, "lan").is_some(), "what somebody made by hand stays");
        ["b", "c"].iter().for_each(|name| self.remove(NODES, name));
    }
}
