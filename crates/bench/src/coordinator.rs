//! `coordinator` for the second interface of an overlay pod: in this process against its bare kernel work, and as an executable.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use polynic_cni::{Delegate, Invocation, Output, Verb};
use polynic_kernel::netns::{Pod, create_pinned};
use polynic_kernel::{Door, Kernel, RealDoor, transaction};
use polynic_net::Plan;
use polynic_plugins::{Host, Registry};
use polynic_wire::messages::{
    AddRequest, AddResponse, BatchDelRequest, CoordinatorConfig, DelRequest, PodIdentity, WorkloadEndpoint,
};
use polynic_wire::{AddressService, AddressServices, ServiceError};
use serde_json::{Value, json};

use crate::plugin::{alternate, timed};
use crate::report::Row;
use crate::world::World;

const ROUNDS: usize = 60;
const NETNS: &str = "/run/netns/coordinated";
const CONTAINER: &str = "bench-coordinator";
const SOCKET: &str = polynic_wire::DEFAULT_SOCKET;
const PEER: &str = "the same changes on open sockets";

/// ADD and DEL in this process, and of the executable.
pub(crate) fn measure(world: &World) -> anyhow::Result<Vec<Row>> {
    let _pod = create_pinned::<Pod>(Path::new(NETNS))?;
    let registry = registry();
    let prev = attach(&registry)?;
    let conf = json!({"cniVersion": "1.0.0", "name": "lan", "type": "coordinator", "prevResult": prev});
    let plan = plan(&registry, &conf)?;
    let mut kernel = RealDoor::default().open(Some(NETNS))?;
    let mut ours = |_| Ok([call(&registry, Verb::Add, &conf)?, call(&registry, Verb::Del, &conf)?]);
    let mut peer = |_| by_hand(kernel.as_mut(), &plan);
    let inside = alternate(ROUNDS, &mut ours, Some(&mut peer))?;
    serve()?;
    let mut exec = |_| Ok([execute(world, "ADD", &conf)?, execute(world, "DEL", &conf)?]);
    let outside = alternate(ROUNDS, &mut exec, None)?;
    let names = ["in-process coordinator ADD", "in-process coordinator DEL"];
    let mut rows: Vec<Row> = names.iter().zip(&inside).filter_map(|(n, p)| Row::times(n, PEER, p)).collect();
    let names = ["coordinator ADD", "coordinator DEL"];
    rows.extend(names.iter().zip(&outside).filter_map(|(n, p)| Row::times(n, "", p)));
    Ok(rows)
}

fn registry() -> Registry {
    Registry::new(Host {
        door: Box::<RealDoor>::default(),
        state: PathBuf::from("/run/polynic"),
        executable: None,
        addresses: Box::new(Fixed),
        releases: polynic_wire::ReleaseJournal::new("/run/held/releases"),
        seed: Box::new(|| Instant::now().elapsed().as_nanos() as u64),
        warn: Box::new(|_| {}),
    })
}

/// The overlay's interface and a macvlan; answers the latter's result.
fn attach(registry: &Registry) -> anyhow::Result<Value> {
    let overlay = json!({"cniVersion": "1.0.0", "name": "overlay", "type": "calico-like",
        "ipam": {"type": "static", "addresses": [{"address": "10.244.0.5/32"}]}});
    registry.call("calico-like", Verb::Add, &invocation("eth0", &overlay))?;
    let lan = json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0", "ipam": {"type": "static",
        "addresses": [{"address": "192.168.10.60/24", "gateway": "192.168.10.1"}], "routes": [{"dst": "0.0.0.0/0"}]}});
    match registry.call("macvlan", Verb::Add, &invocation("net1", &lan))? {
        Output::Success(success) => Ok(serde_json::from_str(&success.print(success.cni_version)?)?),
        other => anyhow::bail!("macvlan answered {other:?}"),
    }
}

fn invocation(ifname: &str, conf: &Value) -> Invocation {
    Invocation {
        container_id: CONTAINER.to_owned(),
        netns: NETNS.to_owned(),
        ifname: ifname.to_owned(),
        args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=bench".to_owned(),
        path: "/nonexistent".to_owned(),
        stdin: conf.to_string().into_bytes(),
        ..Invocation::default()
    }
}

fn call(registry: &Registry, verb: Verb, conf: &Value) -> anyhow::Result<Duration> {
    let invocation = invocation("net1", conf);
    let start = Instant::now();
    registry.call("coordinator", verb, &invocation)?;
    Ok(start.elapsed())
}

/// What an ADD does, from its record.
fn plan(registry: &Registry, conf: &Value) -> anyhow::Result<Plan> {
    call(registry, Verb::Add, conf)?;
    let directory = format!("/run/polynic/attachments/{CONTAINER}");
    let files = std::fs::read_dir(&directory)?.collect::<Result<Vec<_>, _>>()?;
    let record = files.iter().find(|f| f.file_name().to_string_lossy().contains(":coordinator"));
    let text = std::fs::read(record.context("no record of coordinator")?.path())?;
    let mut record: Value = serde_json::from_slice(&text)?;
    call(registry, Verb::Del, conf)?;
    Ok(serde_json::from_value(record["plan"].take())?)
}

fn by_hand(kernel: &mut dyn Kernel, plan: &Plan) -> anyhow::Result<[Duration; 2]> {
    let start = Instant::now();
    transaction::apply(kernel, plan)?;
    let applied = start.elapsed();
    let start = Instant::now();
    let errors = transaction::remove(kernel, plan);
    ensure!(errors.is_empty(), "{errors:?}");
    Ok([applied, start.elapsed()])
}

fn execute(world: &World, verb: &str, conf: &Value) -> anyhow::Result<Duration> {
    let mut command = Command::new(world.ours.join("coordinator"));
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", CONTAINER).env("CNI_IFNAME", "net1");
    command.env("CNI_NETNS", NETNS).env("CNI_PATH", &world.ours);
    command.env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=bench");
    let (time, stdout, success) = timed(&mut command, conf.to_string().as_bytes())?;
    ensure!(success, "coordinator {verb}: {}", String::from_utf8_lossy(&stdout));
    Ok(time)
}

fn config() -> CoordinatorConfig {
    CoordinatorConfig {
        mode: "auto".into(),
        overlay_pod_cidr: vec!["10.244.0.0/16".into()],
        service_cidr: vec!["10.233.0.0/18".into()],
        tune_pod_routes: true,
        ..CoordinatorConfig::default()
    }
}

/// An agent in another process's place, for the executable.
fn serve() -> anyhow::Result<()> {
    if let Some(directory) = Path::new(SOCKET).parent() {
        std::fs::create_dir_all(directory)?;
    }
    let listener = UnixListener::bind(SOCKET)?;
    let answer = serde_json::to_string(&config())?;
    std::thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| reply(&stream, &answer)));
    Ok(())
}

fn reply(mut stream: &UnixStream, answer: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        let value = line.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse());
        length = value.and_then(Result::ok).unwrap_or(length);
        line.clear();
    }
    reader.read_exact(&mut vec![0; length])?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    stream.write_all(format!("{head}{answer}").as_bytes())
}

/// An agent in this process.
#[derive(Clone, Copy)]
struct Fixed;

impl AddressServices for Fixed {
    fn at(&self, _: &Path) -> Arc<dyn AddressService> {
        Arc::new(*self)
    }
}

fn unused<T>() -> Result<T, ServiceError> {
    Err(ServiceError::status(500, "not part of this benchmark"))
}

impl AddressService for Fixed {
    fn healthy(&self, _: Instant) -> Result<(), ServiceError> {
        unused()
    }
    fn allocate(&self, _: &AddRequest, _: Instant) -> Result<AddResponse, ServiceError> {
        unused()
    }
    fn release(&self, _: &DelRequest, _: Instant) -> Result<(), ServiceError> {
        unused()
    }
    fn release_batch(&self, _: &BatchDelRequest, _: Instant) -> Result<(), ServiceError> {
        unused()
    }
    fn coordinator_config(&self, _: &PodIdentity, _: Instant) -> Result<CoordinatorConfig, ServiceError> {
        Ok(config())
    }
    fn workload_endpoint(&self, _: &PodIdentity, _: Instant) -> Result<WorkloadEndpoint, ServiceError> {
        unused()
    }
}
