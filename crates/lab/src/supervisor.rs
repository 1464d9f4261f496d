//! The lab's second process: makes nodes and wires, serves the API, restarts kubelets, runs the controllers.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::ListParams;
use kube::{Api, Client};
use polynic_apiserver::Running;

use crate::daemon::Kept;
use crate::error::{Error, Result};
use crate::fleet::{Fleet, Start, request};
use crate::hold::{self, Holder};
use crate::progress::{self, Progress};
use crate::reach::Reach;
use crate::registry::{self, Hosts, ROUTER};
use crate::relay::Door;
use crate::state::{Spec, State, write_whole};
use crate::underlay::{Layout, build, plan};
use crate::{api, calico_pools, controllers, flannel, fleet, node, policies, relay, spiderpool};

/// How long nodes may take to become ready, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// `__supervise`: reports progress on stdout; stdin is the socket on the machine's network.
pub fn supervise(directory: &Path) -> ExitCode {
    match try_supervise(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!(%why, "the lab ends");
            Progress::failed(&why).report();
            ExitCode::FAILURE
        }
    }
}

fn try_supervise(directory: &Path) -> Result<()> {
    let state = State::at(directory)?;
    let spec = state.spec()?;
    end_with_reader(&state, spec.tied);
    let outer =
        std::io::stdin().as_fd().try_clone_to_owned().map_err(Error::io("take over the API socket"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Error::io("start the runtime"))?.block_on(run(state, spec, TcpListener::from(outer)))
}

/// The lab ends with whoever waits for it to start; a tied one also later, and then without leaving its directory.
fn end_with_reader(state: &State, tied: bool) {
    let state = state.clone();
    std::thread::spawn(move || {
        progress::wait_for_reader_to_go();
        if !tied && READY.load(std::sync::atomic::Ordering::Acquire) {
            return;
        }
        tracing::info!("nobody waits for the lab any more: it ends");
        if let Ok(guard) = state.guard() {
            let _ = state.remove(&guard);
        }
        std::process::exit(0);
    });
}

static READY: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

async fn run(state: State, spec: Spec, outer: TcpListener) -> Result<()> {
    let layout = Layout::new(spec.nodes, &spec.shape)?;
    let plugins = node::plugins(&spec.polynic)?;
    let hosts = start_hosts(&state, &layout, &plugins)?;
    build::build(&plan::stages(&layout)?, &hosts)?;
    registry::save_hosts(&state, &hosts)?;
    step(format!("underlay: {}", describe(&layout)));
    let (server, client, _door) = serve_api(&state, outer).await?;
    step("API server: namespaces and NetworkAttachmentDefinitions".to_owned());
    let _controller = install(&client, &state, &spec).await?;
    let start = Start { state, client: client.clone(), layout, hosts, plugins, server: server.addr() };
    let fleet = Fleet::start(start)?;
    tokio::spawn(controllers::run(client.clone()));
    wait_until_ready(&client, spec.nodes).await?;
    step(format!(
        "nodes: {} ready, default network k8s-pod-network ({}, {})",
        spec.nodes, spec.shape.pods.v4, spec.shape.pods.v6,
    ));
    READY.store(true, std::sync::atomic::Ordering::Release);
    Progress::Ready.report();
    request::serve(fleet).await;
    // Somebody removed it without `down`, which would not find the lab any more: it must not live on unseen.
    tracing::warn!("the lab's directory is gone: the lab ends");
    Ok(())
}

/// What the cluster has beside the default network; the controller of it ends with what comes back.
async fn install(client: &Client, state: &State, spec: &Spec) -> Result<Option<Kept>> {
    let mut controller = None;
    if spec.shape.spiderpool {
        calico_pools::install(client, &spec.shape).await?;
        spiderpool::install(client, state).await?;
        controller = Some(spiderpool::controller(&spec.polynic, state).keep(state.clone()));
        step("Spiderpool: its kinds, the controller, and an agent on each node".to_owned());
    }
    if let Some(conf) = &spec.shape.flannel {
        flannel::install(state, conf)?;
        step("flannel: its daemon on each node".to_owned());
    }
    if spec.shape.policies {
        policies::install(client).await?;
        step("MultiNetworkPolicy: its kind, and a service on each node".to_owned());
    }
    if spec.shape.thick {
        step("Multus: multus-shim for the runtime, and an agent on each node that attaches".to_owned());
    }
    Ok(controller)
}

fn step(text: String) {
    tracing::info!("{text}");
    Progress::Step(text).report();
}

fn describe(layout: &Layout) -> String {
    let nets: Vec<String> = layout
        .shape()
        .underlays
        .iter()
        .zip(0..)
        .map(|(net, n)| net.nic.as_deref().map_or_else(|| format!("eth{n} {net}"), |_| net.to_string()))
        .collect();
    let beyond: Vec<String> = layout.beyond().iter().map(|network| network.v4.to_string()).collect();
    format!("{}, router, and {} behind it", nets.join(", "), beyond.join(", "))
}

/// Starts the holders of the router, the host behind it, and the nodes. They last as long as the lab, so nobody waits for them.
fn start_hosts(state: &State, layout: &Layout, plugins: &[String]) -> Result<Hosts> {
    let mut hosts = Hosts::new();
    let mut keep = |name: &str, child: Child| -> Result<()> {
        hosts.insert(name.to_owned(), hold::identity(&child)?);
        Ok(())
    };
    let others = layout.shape().hosts.iter().map(|host| host.name.as_str());
    for name in others.chain([ROUTER]) {
        keep(name, hold::start(name, &Holder::Host)?)?;
    }
    for node in layout.nodes() {
        hold::make_node_directories(state, &node.name(), plugins)?;
        keep(&node.name(), hold::start(&node.name(), &Holder::Node(state))?)?;
    }
    Ok(hosts)
}

/// One server, many sockets: on the machine, here among the switches, and (by the fleet) on every node's loopback address.
async fn serve_api(state: &State, outer: TcpListener) -> Result<(Running, Client, Door)> {
    let address = outer.local_addr().map_err(Error::io("look at the API socket"))?;
    let server = api::serve(state, fleet::listen()?, Arc::new(Reach(state.clone()))).await?;
    let door = relay::start(outer, server.addr())?;
    let kubeconfig = server.kubeconfig();
    let outside = node::readdressed(kubeconfig, &format!("https://{address}"))?;
    write_whole(&state.kubeconfig(), outside.as_bytes())?;
    let inside = node::readdressed(kubeconfig, node::API_INSIDE)?;
    write_whole(&state.inner_kubeconfig(), inside.as_bytes())?;
    let client = api::client(&state.inner_kubeconfig()).await?;
    api::seed(&client, &state.spec()?.shape).await?;
    Ok((server, client, door))
}

async fn wait_until_ready(client: &Client, nodes: u16) -> Result<()> {
    let api: Api<NodeObject> = Api::all(client.clone());
    let deadline = Instant::now() + PATIENCE;
    let mut last = String::new();
    while Instant::now() < deadline {
        let list = api.list(&ListParams::default()).await.map_err(Error::api("list nodes"))?;
        let ready = list.items.iter().filter(|node| node::is_ready(node, &mut last)).count();
        if ready == usize::from(nodes) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Error::Waited(format!("the nodes are not ready after {PATIENCE:?}: {last}")))
}
