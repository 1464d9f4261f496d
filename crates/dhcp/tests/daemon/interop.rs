//! The replaced plugin with our daemon, and the replaced daemon with our side of the wire.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use polynic_dhcp::rpc::client::Daemon;

use crate::world::{World, eventually, text};

/// The replaced plugin and daemon (Debian: containernetworking-plugins).
const REPLACED: &str = "/usr/lib/cni/dhcp";
const RANGE: &str = "--dhcp-range=10.77.0.10,10.77.0.19,255.255.255.0,2m";

fn plugin(world: &World, verb: &str) -> (bool, String) {
    let arguments = world.arguments("net1", "{}");
    let conf = format!(
        r#"{{"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "ipam": {{"type": "dhcp", "daemonSocketPath": "{}"}}}}"#,
        world.options().socket.display()
    );
    let mut child = Command::new(REPLACED)
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", &arguments.container_id)
        .env("CNI_NETNS", &arguments.netns)
        .env("CNI_IFNAME", &arguments.ifname)
        .env("CNI_PATH", &arguments.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(conf.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_replaced_plugin_gets_leases_from_our_daemon() {
    let Some(mut world) = World::new(&["dnsmasq", REPLACED]) else { return };
    world.start();
    let _server = world.dnsmasq(&[RANGE]);
    let (added, text) = plugin(&world, "ADD");
    assert!(added, "{text}");
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(result["ips"][0]["address"].as_str().unwrap().starts_with("10.77.0.1"), "{result}");
    assert_eq!(result["ips"][0]["gateway"], "10.77.0.1");
    assert_eq!(result["routes"][0]["dst"], "0.0.0.0/0");
    assert!(world.kept().is_some());
    let (deleted, text) = plugin(&world, "DEL");
    assert!(deleted, "{text}");
    assert_eq!(world.kept(), None);
    world.pod_ip("link delete net1");
    let (added, text) = plugin(&world, "ADD");
    assert!(!added && text.contains("Link not found"), "{text}");
}

#[test]
fn our_side_of_the_wire_gets_leases_from_the_replaced_daemon() {
    let Some(world) = World::new(&["dnsmasq", REPLACED]) else { return };
    let _server = world.dnsmasq(&[RANGE]);
    let socket = world.path("replaced.sock");
    let mut command = Command::new(REPLACED);
    command.arg("daemon").arg("-socketpath").arg(&socket);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = command.spawn().unwrap();
    eventually("the replaced daemon listens", || Daemon::dial(&socket, Duration::from_secs(5)).is_ok());
    let arguments = world.arguments("net1", r#"{"type": "dhcp"}"#);
    let mut connection = Daemon::dial(&socket, Duration::from_secs(60)).unwrap();
    let result = connection.allocate(&arguments);
    let checked = connection.check(&arguments);
    let released = connection.release(&arguments);
    let _ = daemon.kill();
    let _ = daemon.wait();
    let result = result.unwrap();
    assert!(result.ips[0].address.to_string().starts_with("10.77.0.1"), "{result:?}");
    assert_eq!(result.routes.len(), 1);
    checked.unwrap();
    released.unwrap();
    eventually("the server has it back", || text(&world.path("dnsmasq.leases")).trim().is_empty());
}
