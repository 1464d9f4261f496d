//! Beside the replaced programs themselves: what Multus attached we delete, what we attached it deletes, and either shim speaks with either
//! daemon, so that a node can be upgraded, and rolled back, while its pods run.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use polynic_apiserver::{Config, Server};
use polynic_real_node::{Api, Leftovers, Space, Tools, Upstream, wait};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::cluster::{NADS, PODS, rows};

/// Who does the work: a program, and the plugins that it calls.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    multus: PathBuf,
    pub(crate) shim: PathBuf,
    plugins: &'static str,
}

/// A node with a link, an API server on its loopback, and a network beside the default one.
pub(crate) struct Machine {
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    pub(crate) upstream: Upstream,
    pub(crate) api: Api,
    pub(crate) kubeconfig: PathBuf,
    default_network: Value,
    pub(crate) server: Served,
    pub(crate) space: Space,
}

/// The API server, on a thread that ends with the test.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    token: String,
    ca_pem: String,
    kubeconfig: PathBuf,
}

impl Served {
    /// In the network of the calling thread.
    fn start(directory: PathBuf) -> Self {
        let (told, served) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::start(Config::new(directory)).await.unwrap();
                let said = Self {
                    addr: server.addr(),
                    token: server.token().to_owned(),
                    ca_pem: server.ca_pem().to_owned(),
                    kubeconfig: server.kubeconfig_path().to_owned(),
                };
                told.send(said).unwrap();
                std::future::pending::<()>().await;
            });
        });
        served.recv().unwrap()
    }
}

pub(crate) struct Pod {
    pub(crate) name: &'static str,
    uid: String,
}

impl Machine {
    pub(crate) fn or_skip() -> Option<Self> {
        Tools::or_skip()?;
        let upstream = Upstream::or_skip()?;
        let reference = polynic_e2e::reference_plugins()?;
        let own = Path::new(polynic_e2e::plugins());
        let ours = Side {
            multus: own.join("multus"),
            shim: own.join("multus-shim"),
            plugins: polynic_e2e::plugins(),
        };
        let theirs = Side {
            multus: upstream.program("multus"),
            shim: upstream.program("multus-shim"),
            plugins: reference,
        };
        let space = Space::new("node-1");
        space.ip("link add eth0 type veth peer name wire
                  address add 192.168.1.10/24 dev eth0
                  link set wire up
                  link set eth0 up");
        space.netns().enter().unwrap();
        let server = Served::start(space.directory().join("api"));
        let kubeconfig = server.kubeconfig.clone();
        let api = Api::new(&kubeconfig);
        define_network(&api);
        give_account(&space, &server);
        Some(Self {
            ours,
            theirs,
            upstream,
            api,
            kubeconfig,
            default_network: default_network(true),
            server,
            space,
        })
    }

    /// A pod with the second network, and its namespace.
    pub(crate) fn pod(&self, name: &'static str) -> Pod {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
                         "metadata": {"name": name, "annotations": {"k8s.v1.cni.cncf.io/networks": "lan"}},
                         "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "none"}]}});
        let uid = self.api.create(PODS, &pod)["metadata"]["uid"].as_str().unwrap().to_owned();
        self.space.ip(&format!("netns add {name}"));
        Pod { name, uid }
    }

    /// One call, as a runtime makes it.
    pub(crate) fn call(
        &self,
        program: &Path,
        verb: &str,
        pod: &Pod,
        conf: &Value,
        plugins: &str,
    ) -> Result<Value, String> {
        let (name, uid) = (pod.name, &pod.uid);
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID=sandbox-{name};K8S_POD_UID={uid}"
        );
        let mut command = self.space.command(program);
        command.envs([
            ("CNI_COMMAND", verb),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", plugins),
            ("CNI_ARGS", &args),
        ]);
        command
            .env("CNI_CONTAINERID", format!("sandbox-{name}"))
            .env("CNI_NETNS", format!("/run/netns/{name}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let [said, complained] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        match output.status.success() {
            true => Ok(serde_json::from_str(&said).unwrap_or(Value::Null)),
            false => Err(format!("{} {verb} {name}: {said} {complained}", program.display())),
        }
    }

    /// A call of thin Multus.
    fn thin(&self, side: &Side, verb: &str, pod: &Pod) -> Value {
        let conf = json!({"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus", "logToStderr": false,
                          "kubeconfig": self.kubeconfig, "delegates": [self.default_network]});
        self.call(&side.multus, verb, pod, &conf, side.plugins).unwrap()
    }

    /// The pod has both networks, and the API knows.
    pub(crate) fn has_both(&self, pod: &Pod) {
        let interfaces = self.space.interfaces(&format!("/run/netns/{}", pod.name));
        assert_eq!(interfaces.keys().collect::<Vec<_>>(), ["eth0", "net1"], "{interfaces:?}");
        assert!(interfaces.values().all(|addresses| addresses.len() == 1), "{interfaces:?}");
        let rows = rows(&self.api.get(PODS, pod.name).unwrap());
        let said: Vec<&Value> = rows.iter().map(|row| &row["ips"][0]).collect();
        assert_eq!(said, [&interfaces["eth0"][0], &interfaces["net1"][0]]);
    }

    /// Its namespace goes, as a runtime does it after DEL.
    pub(crate) fn gone(&self, pod: &Pod) {
        self.space.ip(&format!("netns del {}", pod.name));
    }
}

/// As kubelet gives it to a daemon's pod.
fn give_account(space: &Space, server: &Served) {
    let directory = space.outside("/run/secrets/kubernetes.io/serviceaccount");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("token"), &server.token).unwrap();
    fs::write(directory.join("ca.crt"), &server.ca_pem).unwrap();
    fs::write(directory.join("namespace"), "kube-system").unwrap();
}

fn define_network(api: &Api) {
    let definition: Value = serde_saphyr::from_str(polynic_api::nad::CRD).unwrap();
    api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
    wait::until("the kind is served", || api.serves(NADS).then_some(()), String::new);
    let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "eth0", "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "192.168.1.0/24", "rangeStart": "192.168.1.100"}]]}});
    let nad = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                     "metadata": {"name": "lan"}, "spec": {"config": config.to_string()}});
    api.create(NADS, &nad);
}

fn default_network(ip_masq: bool) -> Value {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]});
    json!({"cniVersion": "1.0.0", "name": "pod-fabric", "plugins": [{"type": "ptp", "ipMasq": ip_masq, "ipam": ipam}]})
}

#[test]
fn what_thin_multus_attached_we_check_and_delete() {
    let Some(machine) = Machine::or_skip() else { return };
    let warm = machine.pod("warm");
    machine.thin(&machine.theirs, "ADD", &warm);
    machine.thin(&machine.theirs, "DEL", &warm);
    machine.gone(&warm);
    let before = Leftovers::observe(&machine.space);
    for with_namespace in [true, false] {
        let pod = machine.pod(if with_namespace { "first" } else { "second" });
        machine.thin(&machine.theirs, "ADD", &pod);
        machine.has_both(&pod);
        machine.thin(&machine.ours, "CHECK", &pod);
        if with_namespace {
            machine.thin(&machine.ours, "DEL", &pod);
            machine.gone(&pod);
        } else {
            machine.gone(&pod);
            machine.thin(&machine.ours, "DEL", &pod);
        }
        assert_eq!(Leftovers::observe(&machine.space).since(&before), [""; 0]);
    }
}

/// Without masquerade: the reference plugins of Debian fail on an iptables chain that is not theirs to find.
#[test]
fn what_we_attached_thin_multus_deletes() {
    let Some(mut machine) = Machine::or_skip() else { return };
    machine.default_network = default_network(false);
    let before = Leftovers::observe(&machine.space);
    let pod = machine.pod("web");
    machine.thin(&machine.ours, "ADD", &pod);
    machine.has_both(&pod);
    machine.thin(&machine.theirs, "DEL", &pod);
    machine.gone(&pod);
    let mut left = Leftovers::observe(&machine.space).since(&before);
    // What we remember in memory they do not know.
    left.retain(|line| !line.starts_with("file /run/polynic/"));
    assert_eq!(left, [""; 0]);
}
