//! How long a macvlan attachment takes in the kernel and around it, step by step: `cargo run --release -p polynic-kernel
//! --example attach`. Makes its own namespaces and touches nothing else.

#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use std::error::Error;
use std::time::{Duration, Instant};

use polynic_kernel::netns::{Host, Netns, Pod};
use polynic_kernel::sandbox::{Options, enter_private};
use polynic_kernel::{Kernel, RealKernel};
use polynic_net::{
    Address, Change, Entropy, IfName, Link, LinkKind, LinkRef, Mac, Macvlan, MacvlanMode, Needs, Place, Route,
};

const ROUNDS: usize = 200;
const STEPS: [&str; 6] = ["open", "observe", "create", "address", "up", "route"];

fn main() -> Result<(), Box<dyn Error>> {
    enter_private(Options { loopback: true, ..Options::default() })?;
    let parent: IfName = "p0".parse()?;
    let mut host = RealKernel::new(Netns::current()?, None)?;
    host.apply(&Change::create_link(Place::Host, Link::new(parent.clone(), LinkKind::Ifb)))?;
    host.apply(&Change::up(Place::Host, &parent))?;
    let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
    // Pods of earlier rounds vanish in the kernel's own time, so each needs an address of its own.
    let mut entropy = Entropy::new(1);
    for _ in 0..ROUNDS {
        for (all, time) in times.iter_mut().zip(attach(&parent, entropy.mac())?) {
            all.push(time);
        }
    }
    report(times);
    Ok(())
}

fn attach(parent: &IfName, mac: Mac) -> Result<[Duration; STEPS.len()], Box<dyn Error>> {
    let pod = Netns::<Pod>::create()?;
    let net1: IfName = "net1".parse()?;
    let mut last = Instant::now();
    let mut lap = || std::mem::replace(&mut last, Instant::now()).elapsed();
    let mut kernel = RealKernel::new(Netns::<Host>::current()?, Some((pod, "pod")))?;
    let open = lap();
    let mut needs = Needs::default();
    needs.host.link(parent);
    needs.pod.link(&net1);
    kernel.observe(&needs)?;
    let observe = lap();
    kernel.apply(&Change::create_link(Place::Pod, macvlan(parent, &net1, mac)))?;
    let create = lap();
    kernel.apply(&Change::add_address(Place::Pod, Address::new(&net1, "10.0.0.2/24".parse()?)))?;
    let address = lap();
    kernel.apply(&Change::up(Place::Pod, &net1))?;
    let up = lap();
    let route = Route::new("0.0.0.0/0".parse()?, &net1).via("10.0.0.1".parse()?);
    kernel.apply(&Change::add_route(Place::Pod, route))?;
    Ok([open, observe, create, address, up, lap()])
}

fn macvlan(parent: &IfName, name: &IfName, mac: Mac) -> Link {
    let parent = LinkRef { place: Place::Host, name: parent.clone() };
    let kind = LinkKind::Macvlan(Macvlan { parent, mode: MacvlanMode::Bridge, bc_queue_len: None });
    Link { mac: Some(mac), ..Link::new(name.clone(), kind) }
}

fn report(times: [Vec<Duration>; STEPS.len()]) {
    for (step, mut all) in STEPS.into_iter().zip(times) {
        all.sort_unstable();
        println!("{step:8} median {:>7.1?}  best {:>7.1?}", all[all.len() / 2], all[0]);
    }
}
