//! An ADD and a DEL of `multus`, with all that they ask and tell the API server.

use std::net::IpAddr;
use std::path::Path;

use kube::Client;
use kube::core::Request;
use kube::core::params::{GetParams, ListParams, PostParams};
use polynic_api::{annotation, status};
use polynic_attach::{Cluster, Config, NadRef, PodNetns, Thin};
use polynic_cluster::{KubeCluster, client_from};
use polynic_cni::{Answer, Delegate, Error, Invocation, Output, Success, Verb, Version};
use polynic_net::Route;
use serde_json::{Value, json};

/// What kubectl would do.
struct Kubectl {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Kubectl {
    fn new(kubeconfig: &Path) -> Kubectl {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(client_from(Some(kubeconfig))).unwrap().unwrap();
        Kubectl { runtime, client }
    }

    fn create(&self, path: &str, object: &Value) -> Value {
        let request =
            Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
        self.runtime.block_on(self.client.request(request)).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    fn get(&self, path: &str, name: &str) -> Value {
        let request = Request::new(path).get(name, &GetParams::default()).unwrap();
        self.runtime.block_on(self.client.request(request)).unwrap()
    }

    fn list(&self, path: &str) -> Vec<Value> {
        let request = Request::new(path).list(&ListParams::default()).unwrap();
        let list: Value = self.runtime.block_on(self.client.request(request)).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The CRD, served: a definition is a moment after it is there.
    fn apply_crd(&self) {
        let crd: Value = serde_saphyr::from_str(polynic_api::nad::CRD).unwrap();
        self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
        let list = || Request::new(NADS).list(&ListParams::default()).unwrap();
        while self.runtime.block_on(self.client.request::<Value>(list())).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn pod(&self, name: &str, networks: &str) -> String {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "annotations": {annotation::NETWORKS: networks}},
            "spec": {"containers": [{"name": "c", "image": "alpine"}]},
        });
        self.create(PODS, &pod)["metadata"]["uid"].as_str().unwrap().to_owned()
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const EVENTS: &str = "/api/v1/namespaces/default/events";
const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";

/// Answers every ADD with one interface.
struct OneInterface;

impl Delegate for OneInterface {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        if verb != Verb::Add {
            return Ok(Output::Empty);
        }
        if plugin_type == "broken" {
            return Err(Error::internal("no such device"));
        }
        let result = json!({"interfaces": [{"name": invocation.ifname, "mac": "02:00:00:00:00:01", "sandbox": invocation.netns}],
                            "ips": [{"interface": 0, "address": "192.168.1.200/24"}]});
        Success::parse(result.to_string().as_bytes(), Version::V1_0_0).map(Output::Success)
    }
}

struct EmptyNetns;

impl PodNetns for EmptyNetns {
    fn has_interface(&self, _: &str, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    fn default_routes(&self, _: &str, _: &str) -> Result<Vec<Route>, Error> {
        Ok(Vec::new())
    }

    fn restore_route(&self, _: &str, _: &Route) -> Result<(), Error> {
        Ok(())
    }

    fn delete_default_routes(&self, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn add_default_route(&self, _: &str, _: &str, _: IpAddr) -> Result<(), Error> {
        Ok(())
    }
}

fn connect(config: &Config) -> Result<Option<Box<dyn Cluster>>, Error> {
    let cluster = KubeCluster::select(&config.kubeconfig).map_err(|why| Error::internal(why.to_string()))?;
    Ok(cluster.map(|cluster| Box::new(cluster) as Box<dyn Cluster>))
}

fn multus(verb: &str, directory: &Path, kubeconfig: &Path, pod: &str, uid: &str) -> Answer {
    let thin = Thin {
        delegate: &OneInterface,
        netns: &EmptyNetns,
        connect: &connect,
        guard: &|_| None,
        version: "test",
    };
    let conf = json!({
        "cniVersion": "1.0.0", "name": "node-net", "type": "multus", "kubeconfig": kubeconfig,
        "cniDir": directory.join("cache"), "delegates": [{"cniVersion": "1.0.0", "name": "fabric", "type": "fabric"}],
    });
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID={uid}"
    );
    let vars = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", pod),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", &args),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    thin.answer(vars.map(|(name, value)| (name.into(), value.into())), &mut conf.to_string().as_bytes())
}

#[test]
fn a_pod_gets_its_networks_its_status_and_its_events() {
    let (_directory, kubeconfig) = crate::embedded();
    all(&kubeconfig);
}

pub fn all(kubeconfig: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let kubectl = Kubectl::new(kubeconfig);
    kubectl.apply_crd();
    let nad = |name: &str, kind: &str| {
        let config = json!({"cniVersion": "0.3.0", "type": kind}).to_string();
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": name}, "spec": {"config": config}})
    };
    kubectl.create(NADS, &nad("macvlan-conf", "macvlan"));
    kubectl.create(NADS, &nad("broken", "broken"));

    let uid = kubectl.pod("samplepod-two", "macvlan-conf,macvlan-conf");
    let answer = multus("ADD", directory.path(), kubeconfig, "samplepod-two", &uid);
    assert_eq!(answer.code, 0, "{answer:?}");
    let pod = kubectl.get(PODS, "samplepod-two");
    let text = pod["metadata"]["annotations"][annotation::NETWORK_STATUS].as_str().unwrap();
    let rows: Vec<String> = status::parse(text)
        .unwrap()
        .into_iter()
        .map(|row| format!("{} {}", row.name, row.interface))
        .collect();
    assert_eq!(rows, ["fabric eth0", "default/macvlan-conf net1", "default/macvlan-conf net2"]);
    assert_eq!(pod["spec"]["containers"][0]["image"], "alpine");
    let mut messages: Vec<String> =
        kubectl.list(EVENTS).iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect();
    messages.sort();
    assert_eq!(
        messages,
        [
            "Add eth0 [192.168.1.200/24] from fabric",
            "Add net1 [192.168.1.200/24] from default/macvlan-conf",
            "Add net2 [192.168.1.200/24] from default/macvlan-conf",
        ]
    );
    assert_eq!(multus("DEL", directory.path(), kubeconfig, "samplepod-two", &uid), Answer::default());

    for (pod, networks, cause) in [
        ("pod-a", "nowhere", "cannot find a network-attachment-definition (nowhere) in namespace (default)"),
        ("pod-b", "broken", "error adding container to network \"broken\": plugin type=\"broken\""),
    ] {
        let uid = kubectl.pod(pod, networks);
        let answer = multus("ADD", directory.path(), kubeconfig, pod, &uid);
        assert!(answer.code == 1 && answer.stdout.contains(&cause.replace('"', "\\\"")), "{answer:?}");
        let told = kubectl.list(EVENTS).iter().any(|event| {
            event["type"] == "Warning"
                && event["message"].as_str().is_some_and(|message| message.contains(cause))
        });
        assert!(told, "{pod}");
    }
}

#[test]
fn a_wrong_authority_is_an_error_at_once() {
    let (directory, kubeconfig) = crate::embedded();
    let (_other, other) = crate::embedded();
    // The server of one kubeconfig with the authority of another.
    let line = |path: &Path, key: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().find(|line| line.contains(key)).unwrap().trim().trim_start_matches("- ").to_owned()
    };
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let mixed = text.replace(
        &line(&kubeconfig, "certificate-authority-data"),
        &line(&other, "certificate-authority-data"),
    );
    let path = directory.path().join("mixed");
    std::fs::write(&path, mixed).unwrap();
    let cluster = KubeCluster::select(&path.display().to_string()).unwrap().unwrap();
    let answers = cluster.nads(&[NadRef { namespace: "default".into(), name: "a".into() }]);
    let error = answers[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("certificate") && !error.contains("gave up"), "{error}");
}
