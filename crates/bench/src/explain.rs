//! `polynic explain`: as a program, and its two halves in this process, looking and thinking, with a node that has many pods.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use polynic_explain::{Asker, Question, Scene, Site, Works, explain};
use polynic_kernel::netns::{Netns, Pod, create_pinned};
use polynic_kernel::survey::together;
use polynic_kernel::{Door, RealDoor};
use polynic_net::{Address, Change, IfName, Link, LinkKind, Place, Route, Veth};

use crate::plugin::alternate;
use crate::report::Row;
use crate::stats::Pairs;
use crate::world::World;

const ROUNDS: usize = 40;
/// Pods on the node beside the one that is asked about.
const PODS: usize = 100;
const NETNS: &str = "/run/netns/explained";

/// The program for one pod, and both halves for it and for a node of [`PODS`] more.
pub(crate) fn measure(world: &World) -> anyhow::Result<Vec<Row>> {
    let pod = cable(NETNS, 0)?;
    let mut program = |_| Ok([run(world)?]);
    let mut rows = rows(&["polynic explain, one pod"], &alternate(ROUNDS, &mut program, None)?);
    rows.extend(halves("one pod", vec![pod.clone()])?);
    let mut pods = vec![pod];
    for at in 1..=PODS {
        pods.push(cable(&format!("/run/netns/explained-{at}"), at)?);
    }
    rows.extend(halves("101 pods", pods)?);
    Ok(rows)
}

fn rows(names: &[&str], pairs: &[Pairs]) -> Vec<Row> {
    names.iter().zip(pairs).filter_map(|(name, pairs)| Row::times(name, "", pairs)).collect()
}

fn halves(what: &str, pods: Vec<Netns<Pod>>) -> anyhow::Result<Vec<Row>> {
    let node = Netns::<Pod>::open("/proc/thread-self/ns/net")?;
    let spaces = [vec![node], pods].concat();
    let mut ours = |_| {
        let started = Instant::now();
        let seen = together(&spaces)?;
        let looking = started.elapsed();
        let sites = seen.into_iter().enumerate();
        let site = |(at, it): (usize, polynic_kernel::survey::Surveyed)| Site {
            name: format!("site {at}"),
            stack: it.stack,
            numbers: it.numbers,
        };
        let scene = Scene { sites: sites.map(site).collect() };
        let started = Instant::now();
        let question = Question {
            asker: Asker::Site(1),
            to: "10.200.0.1".parse()?,
            port: Some(80),
            from: None,
            link: None,
        };
        let answer = explain(&scene, &question);
        ensure!(answer.works == Works::Yes, "{answer}");
        Ok([looking, started.elapsed()])
    };
    let pairs = alternate(ROUNDS, &mut ours, None)?;
    let names =
        [format!("explain looks at a node with {what}"), format!("explain thinks about a node with {what}")];
    Ok(rows(&[&names[0], &names[1]], &pairs))
}

/// A pod on a cable to the node, which has 10.200.0.1.
fn cable(path: &str, at: usize) -> anyhow::Result<Netns<Pod>> {
    let pod = create_pinned::<Pod>(&PathBuf::from(path))?;
    let mut kernel = RealDoor::default().open(Some(path))?;
    let (nic, port) = (IfName::new("eth0")?, IfName::new(format!("x{at}"))?);
    let peer = Veth { place: Place::Host, name: port.clone(), mac: None, mtu: None };
    let own = format!("10.201.{}.{}/32", at / 250, at % 250 + 1).parse()?;
    let everywhere = "10.200.0.1/32".parse()?;
    for change in [
        Change::create_link(Place::Pod, Link::new(nic.clone(), LinkKind::Veth(peer))),
        Change::up(Place::Pod, &nic),
        Change::up(Place::Host, &port),
        Change::add_address(Place::Pod, Address::new(&nic, own)),
        Change::add_route(Place::Pod, Route::new(everywhere, &nic).link_scope()),
        Change::add_route(Place::Host, Route::new(own, &port).link_scope()),
    ] {
        kernel.apply(&change)?;
    }
    if at == 0 {
        let address = Address::new(&port, "10.200.0.1/32".parse()?);
        kernel.apply(&Change::add_address(Place::Host, address))?;
    }
    Ok(pod)
}

fn run(world: &World) -> anyhow::Result<Duration> {
    let mut command = Command::new(&world.programs.polynic);
    command.args(["explain", "--netns", NETNS, "--to", "10.200.0.1:80", "-o", "json"]).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status()?;
    ensure!(status.success(), "explain: {status}");
    Ok(started.elapsed())
}
