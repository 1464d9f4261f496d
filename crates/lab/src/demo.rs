//! The quickstart as a show: the cluster comes up, a pod gets its second network, packets prove it.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use polynic_net::Family;

use crate::command::polynic;
use crate::error::Result;
use crate::registry::OUTSIDE;
use crate::scenario::world::{Place, View, World};
use crate::scenario::{Finding, eventually, in_lab, packet, quickstart};
use crate::shape::Shape;
use crate::state::Spec;
use crate::ui::{self, Style, Ui};

const POD: &str = "samplepod";
const OTHER: &str = "samplepod-two";

/// `demo`.
pub fn run() -> Result<ExitCode> {
    let ui = Ui::new();
    ui.line(&ui.paint(Style::Bold, "One pod, two networks, on this machine"));
    ui.line("Everything below happens in private namespaces; this machine's own network is not touched.");
    ui.heading("A cluster comes up");
    let spec = Spec {
        name: format!("demo-{}", std::process::id()),
        nodes: 1,
        shape: Shape::default(),
        strict_reverse_path: false,
        rbac: false,
        tied: true,
        polynic: polynic()?,
    };
    let started = Instant::now();
    let show = |step: &str| {
        let at = format!("{:4.1} s", started.elapsed().as_secs_f32());
        ui.line(&format!("  {} {}  {step}", ui.paint(Style::Good, "ok"), ui.paint(Style::Dim, &at)));
    };
    let ended = in_lab(&spec, "demo", show, false)?;
    if ended == ExitCode::SUCCESS {
        what_next(ui);
    }
    Ok(ended)
}

/// The show itself, inside the lab.
pub fn show(world: &World) -> Result<ExitCode> {
    let ui = Ui::new();
    let mut stage = Stage { ui, good: true };
    ui.heading("The Multus quickstart is applied, unchanged (scenarios/multus-quickstart/manifests.yaml)");
    stage.report("applied", world.apply(quickstart::STORY.manifests));
    stage.report("started", world.wait_running(&[POD, OTHER]));
    if stage.good {
        stage.pod(world, POD);
        stage.pod(world, OTHER);
        stage.status(world);
        stage.packets(world);
    }
    Ok(if stage.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Stage {
    ui: Ui,
    good: bool,
}

impl Stage {
    fn report(&mut self, what: &str, finding: Finding) {
        match finding {
            Ok(seen) => {
                let seen = self.ui.paint(Style::Dim, &seen);
                self.ui.line(&format!("  {} {what}: {seen}", self.ui.paint(Style::Good, "ok")));
            }
            Err(why) => {
                self.good = false;
                self.ui.line(&format!("  {} {what}: {why}", self.ui.paint(Style::Bad, "FAIL")));
            }
        }
    }

    /// A pod's NICs and routes, from the kernel.
    fn pod(&mut self, world: &World, name: &str) {
        self.ui.heading(&format!("Inside {name}"));
        match world.look(Place::Pod(name)) {
            Ok(view) => {
                ui::table(&nics(&view)).iter().for_each(|line| self.ui.line(&format!("  {line}")));
                for route in view.routes().filter(|route| route.family() == Family::V4) {
                    self.ui.line(&self.ui.paint(Style::Dim, &format!("  route {route}")));
                }
            }
            Err(why) => self.report(name, Err(why)),
        }
    }

    fn status(&mut self, world: &World) {
        self.ui
            .heading(&format!("What {POD} says about itself (annotation k8s.v1.cni.cncf.io/network-status)"));
        match world.network_status(POD) {
            Ok((text, _)) => text.lines().for_each(|line| self.ui.line(&format!("  {line}"))),
            Err(why) => self.report("network-status", Err(why)),
        }
    }

    fn packets(&mut self, world: &World) {
        self.ui.heading("Packets");
        let gateway = world.layout().segments().first().map(|segment| segment.router()[0]);
        if let Some(gateway) = gateway {
            self.report("net1 to the gateway", ping(world, "net1", gateway));
        }
        let outside = world.outside().map(|addresses| addresses[0]);
        self.report(
            "net1 to a host behind the router",
            outside.clone().and_then(|ip| ping(world, "net1", ip)),
        );
        self.report("net1 to net1 of the other pod", ping_other(world, "net1"));
        self.report("eth0 to eth0 of the other pod", ping_other(world, "eth0"));
        self.report("TCP to the outside is seen there as", outside.and_then(|ip| seen_outside(world, ip)));
    }
}

fn nics(view: &View) -> Vec<Vec<String>> {
    let mut rows = vec![["NIC", "KIND", "MAC", "ADDRESSES"].map(str::to_owned).to_vec()];
    for name in view.link_names() {
        let Ok(link) = view.link(&name) else { continue };
        let mode = link.macvlan_mode.map(|mode| format!(" {mode:?}").to_lowercase()).unwrap_or_default();
        let mac = link.mac.filter(|_| !link.loopback).map(|mac| mac.to_string()).unwrap_or_default();
        let addresses: Vec<String> =
            view.all_addresses(&name).into_iter().filter(|address| !address.starts_with("fe80:")).collect();
        let kind = if link.loopback { "loopback".to_owned() } else { format!("{}{mode}", link.kind) };
        rows.push(vec![name, kind, mac, addresses.join(" ")]);
    }
    rows
}

fn ping(world: &World, link: &str, to: IpAddr) -> Finding {
    let from = world.look(Place::Pod(POD))?.address(link, Family::of(to))?;
    let time = packet::ping(&world.network(Place::Pod(POD))?, Some(from), to)?;
    Ok(format!("{from} -> {to} answered in {:.2} ms", time.as_secs_f64() * 1000.0))
}

fn ping_other(world: &World, link: &str) -> Finding {
    let to = world.look(Place::Pod(OTHER))?.address(link, Family::V4)?;
    // IPv6 neighbours of a link that came up a moment ago may take a second; the guide's network is IPv4.
    eventually(Duration::from_secs(30), || ping(world, link, to))
}

fn seen_outside(world: &World, outside: IpAddr) -> Finding {
    let (pod, host) = (world.network(Place::Pod(POD))?, world.network(Place::Host(OUTSIDE))?);
    packet::tcp(&pod, &host, outside).map(|seen| seen.to_string())
}

fn what_next(ui: Ui) {
    ui.heading("What to try next");
    let commands = [
        ("up --nodes 2", "a cluster that stays"),
        ("apply -f scenarios/multus-quickstart/manifests.yaml", "the same objects"),
        ("kubectl get pods -o wide", "with this machine's kubectl"),
        ("exec samplepod -- ip addr", "this machine's tools in the pod's network"),
        ("run multus-quickstart", "every promise of the guide, checked"),
        ("down", "and nothing is left"),
    ];
    let program = ui::program();
    let rows: Vec<Vec<String>> = commands
        .iter()
        .map(|(command, why)| vec![format!("{program} {command}"), ui.paint(Style::Dim, why)])
        .collect();
    ui::table(&rows).iter().for_each(|line| ui.line(&format!("  {line}")));
}
