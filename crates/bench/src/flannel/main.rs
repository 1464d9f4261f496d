//! flannel's core on a real kernel: how long it takes to bring a node up to date, and to find that nothing has to be done, for up to
//! 5,000 peers that exist as leases only. Needs no root where user namespaces are allowed.
//!
//! `cargo run --release -p polynic-bench --bin polynic-bench-flannel [PEERS...]`

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use polynic_bench::process;
use polynic_flannel::diff::Memory;
use polynic_flannel::rules::RuleOptions;
use polynic_flannel::{DEFAULT_PREFIX, Instance, Keys, Lease, NetConf, Node, Own, Selection, Settings};
use polynic_kernel::sandbox::{Options, enter_private};
use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::{Address, Change, Entropy, IfName, Link, LinkKind, Place};

const PEERS: [u32; 4] = [10, 100, 1_000, 5_000];
/// Looks that are timed one by one when nothing has to be done.
const LOOKS: usize = 20;
const CONF: &str = r#"{"Network": "10.0.0.0/8", "Backend": {"Type": "vxlan"}}"#;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "polynic-bench-flannel: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let asked: Vec<u32> = std::env::args().skip(1).map(|n| n.parse()).collect::<Result<_, _>>()?;
    let asked = if asked.is_empty() { PEERS.to_vec() } else { asked };
    enter_private(Options { loopback: true, ..Options::default() })
        .context("cannot make private namespaces")?;
    let mut kernel = RealDoor::default().open(None)?;
    external_interface(kernel.as_mut())?;
    let mut out = io::stdout();
    writeln!(
        out,
        "peers    first pass   requests   a look that finds nothing   one peer changes   all leave   resident"
    )?;
    for count in asked {
        writeln!(out, "{}", row(kernel.as_mut(), count)?)?;
    }
    Ok(())
}

/// A bridge does for a NIC: nothing is sent.
fn external_interface(kernel: &mut dyn Kernel) -> anyhow::Result<()> {
    let eth1: IfName = "eth1".parse()?;
    let nic = Link::new(eth1.clone(), LinkKind::Bridge { vlan_filtering: false });
    kernel.apply(&Change::create_link(Place::Host, nic))?;
    kernel.apply(&Change::up(Place::Host, &eth1))?;
    Ok(kernel.apply(&Change::add_address(Place::Host, Address::new(&eth1, "192.168.0.1/16".parse()?)))?)
}

/// One instance from its start to the day when all others are gone.
struct Life {
    instance: Instance,
    own: Own,
    settings: Settings,
}

impl Life {
    fn new() -> anyhow::Result<Self> {
        let settings = Settings {
            conf: NetConf::parse(CONF.as_bytes())?,
            keys: Keys::new(DEFAULT_PREFIX)?,
            selection: Selection { interfaces: vec!["eth1".to_owned()], ..Selection::default() },
            rules: RuleOptions { forward: true, masquerade: true, random: true },
            blackhole: false,
            secret: None,
        };
        let own = Own::of(&node(0, 0), &settings.keys, &settings.conf)?;
        Ok(Self { instance: Instance::new(settings.clone(), Memory::default()), own, settings })
    }

    fn leases(&self, count: u32, changed: u32) -> Vec<Lease> {
        let lease = |n| Lease::of(&node(n, changed), &self.settings.keys, &self.settings.conf).0;
        (1..=count).filter_map(lease).collect()
    }

    /// One pass; how long it took, and how many changes it made.
    fn pass(&mut self, kernel: &mut dyn Kernel, leases: &[Lease]) -> anyhow::Result<(Duration, usize)> {
        let began = Instant::now();
        let outcome = self.instance.pass(kernel, &self.own, leases, &mut Entropy::new(1))?;
        let took = began.elapsed();
        ensure!(outcome.problems.is_empty(), "{:?}", outcome.problems);
        Ok((took, outcome.made))
    }
}

fn row(kernel: &mut dyn Kernel, count: u32) -> anyhow::Result<String> {
    let mut life = Life::new()?;
    let leases = life.leases(count, 0);
    let (first, made) = life.pass(kernel, &leases)?;
    let mut looks = Vec::new();
    for _ in 0..LOOKS {
        let (took, made) = life.pass(kernel, &leases)?;
        ensure!(made == 0, "a second pass made {made} changes");
        looks.push(took);
    }
    looks.sort();
    let changed = life.leases(count, 1);
    let (one, _) = life.pass(kernel, &changed)?;
    let resident = process::Memory::of(std::process::id())?.resident;
    let (gone, _) = life.pass(kernel, &[])?;
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    Ok(format!(
        "{count:>5}{:>14}{made:>11}{:>28}{:>19}{:>12}{:>8.0} MiB",
        ms(first),
        ms(looks[LOOKS / 2]),
        ms(one),
        ms(gone),
        resident,
    ))
}

/// Peer `n`; the first one's tunnel has another hardware address if `changed` is not 0.
fn node(n: u32, changed: u32) -> Node {
    let key = |name: &str| format!("{DEFAULT_PREFIX}/{name}");
    let (high, low) = (n >> 8, n & 0xff);
    let first = if n == 1 { changed } else { 0 };
    let annotations = [
        (key("kube-subnet-manager"), "true".to_owned()),
        (key("backend-type"), "vxlan".to_owned()),
        (
            key("backend-data"),
            format!(r#"{{"VNI":1,"VtepMAC":"02:00:00:{first:02x}:{high:02x}:{low:02x}"}}"#),
        ),
        (key("public-ip"), format!("192.168.{}.{low}", high + 1)),
    ];
    let pod_cidrs = vec![format!("10.{high}.{low}.0/24")];
    Node { name: format!("node{n:05}"), pod_cidrs, annotations: annotations.into_iter().collect() }
}
