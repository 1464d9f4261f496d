//! A daemon that ends, and what others do meanwhile.

use polynic_dhcp::daemon::release_alone;
use polynic_kernel::RealDoor;

use crate::world::{World, eventually, text};

const IPAM: &str = r#"{"type": "dhcp", "provide": [{"option": "host-name", "value": "web-0"}]}"#;

#[test]
fn the_next_daemon_takes_leases_up_and_renews_them() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    world.start();
    let _server = world.udhcpd(30, 20, 30);
    let result = world.attach();
    world.stop();
    assert_eq!(world.addresses(), [result.ips[0].address.to_string()]);
    let began = |world: &World| world.kept().map_or(0, |kept| kept["since_ms"].as_u64().unwrap());
    let start = began(&world);
    world.start();
    world.dial().check(&world.arguments("net1", IPAM)).unwrap();
    assert_eq!(world.dial().allocate(&world.arguments("net1", IPAM)).unwrap(), result);
    // Long before half of its time is over.
    eventually("the lease is confirmed", || began(&world) > start);
    assert_eq!(world.addresses(), [result.ips[0].address.to_string()]);
}

#[test]
fn leases_of_pods_that_went_meanwhile_are_forgotten() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    world.start();
    let _server = world.udhcpd(30, 20, 30);
    world.attach();
    world.stop();
    world.pod_ip("link delete net1");
    world.start();
    eventually("the lease is forgotten", || world.kept().is_none());
}

#[test]
fn a_lease_is_released_without_a_daemon() {
    let Some(mut world) = World::new(&["dnsmasq"]) else { return };
    world.start();
    let _server = world.dnsmasq(&["--dhcp-range=10.77.0.10,10.77.0.19,255.255.255.0,2m"]);
    let arguments = world.arguments("net1", IPAM);
    world.dial().allocate(&arguments).unwrap();
    let file = world.path("dnsmasq.leases");
    let leases = || text(&file);
    eventually("the server knows", || leases().contains("web-0"));
    world.stop();
    let state = world.options().state;
    release_alone(&state, &RealDoor::default(), &arguments).unwrap();
    eventually("the server takes it back", || !leases().contains("web-0"));
    assert_eq!(world.kept(), None);
    release_alone(&state, &RealDoor::default(), &arguments).unwrap();
}

#[test]
fn a_socket_that_was_left_is_no_obstacle_and_a_living_daemon_is() {
    let Some(mut world) = World::new(&[]) else { return };
    let options = world.options();
    std::fs::create_dir_all(options.socket.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&options.socket).unwrap());
    world.start();
    let second = polynic_dhcp::daemon::Daemon::start(&options, None, Box::<RealDoor>::default(), 8);
    let error = second.err().unwrap().to_string();
    assert!(error.starts_with("another daemon listens on "), "{error}");
    world.stop();
    assert!(!options.socket.exists());
}
