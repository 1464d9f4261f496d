//! Many interfaces at once.

use std::collections::BTreeSet;

use crate::world::{World, eventually, name, text};

const CLIENTS: usize = 200;

#[test]
fn two_hundred_clients_get_addresses_of_their_own() {
    let Some(mut world) = World::new(&["dnsmasq"]) else { return };
    let pod = name(&world.scratch.path).to_owned();
    world.pod_ip("link set net1 up");
    let links: Vec<String> =
        (0..CLIENTS).map(|n| format!("link add m{n} link net1 type macvlan mode bridge\n")).collect();
    let batch = world.path("batch");
    std::fs::write(&batch, links.concat()).unwrap();
    world.ip(&format!("-n {pod} -batch {}", batch.display()));
    world.start();
    let _server = world.dnsmasq(&["--dhcp-range=10.77.1.0,10.77.3.255,255.255.0.0,10m"]);
    let arguments = |n: usize| world.arguments(&format!("m{n}"), r#"{"type": "dhcp"}"#);
    let addresses: BTreeSet<String> = std::thread::scope(|scope| {
        let world = &world;
        let calls: Vec<_> = (0..CLIENTS)
            .map(|n| {
                scope.spawn(move || world.dial().allocate(&arguments(n)).unwrap().ips[0].address.to_string())
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(addresses.len(), CLIENTS);
    // A bound interface holds no descriptor.
    let sockets = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(sockets() < CLIENTS, "{} descriptors", sockets());
    for n in 0..CLIENTS {
        world.dial().release(&arguments(n)).unwrap();
    }
    eventually("the server has everything back", || text(&world.path("dnsmasq.leases")).trim().is_empty());
}
