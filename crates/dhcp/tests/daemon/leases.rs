//! The life of one lease.

use crate::world::{World, eventually, text};

#[test]
fn options_go_out_and_come_in() {
    let Some(mut world) = World::new(&["dnsmasq"]) else { return };
    world.start();
    let _server = world.dnsmasq(&[
        "--dhcp-range=10.77.0.10,10.77.0.19,255.255.255.0,2m",
        "--dhcp-option=option:classless-static-route,0.0.0.0/0,10.77.0.9,10.50.0.0/16,10.77.0.8",
    ]);
    let ipam = r#"{"type": "dhcp", "priority": 42, "request": [{"option": "121"}],
        "provide": [{"option": "host-name", "fromArg": "K8S_POD_NAME"}]}"#;
    let result = world.dial().allocate(&world.arguments("net1", ipam)).unwrap();
    assert_eq!(result.ips.len(), 1);
    assert!(result.ips[0].address.to_string().starts_with("10.77.0.1"), "{result:?}");
    assert_eq!(result.ips[0].address.prefix_len(), 24);
    assert_eq!(result.ips[0].gateway, Some("10.77.0.1".parse().unwrap()));
    let mut routes: Vec<String> = result
        .routes
        .iter()
        .map(|r| format!("{} via {} metric {:?}", r.dst, r.gw.unwrap(), r.priority))
        .collect();
    routes.sort();
    let expected = ["0.0.0.0/0 via 10.77.0.9 metric Some(42)", "10.50.0.0/16 via 10.77.0.8 metric Some(42)"];
    assert_eq!(routes, expected);
    let leases = || text(&world.path("dnsmasq.leases"));
    eventually("the server knows the name and the client", || leases().contains("web-0"));
    // Option 61: a zero, container, network, interface.
    let id: String = b"\0c1/lan/net1".iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
    assert!(leases().contains(&id), "{}", leases());
    assert_eq!(world.dial().allocate(&world.arguments("net1", ipam)).unwrap(), result, "again");
    world.dial().check(&world.arguments("net1", ipam)).unwrap();
    let error = world.dial().check(&world.arguments("net7", ipam)).unwrap_err();
    assert!(error.to_string().contains("there is no lease for c1/lan/net7"), "{error}");
    world.dial().release(&world.arguments("net1", ipam)).unwrap();
    eventually("the server takes it back", || !leases().contains("web-0"));
    assert_eq!(world.kept(), None);
    world.dial().release(&world.arguments("net1", ipam)).unwrap();
}

#[test]
fn what_cannot_be_leased_is_said() {
    let Some(mut world) = World::new(&[]) else { return };
    let mut options = world.options();
    options.timing.attempt = std::time::Duration::from_millis(10);
    options.timing.give_up = std::time::Duration::from_millis(100);
    world.start_with(&options);
    let allocate = |ifname: &str, ipam: &str| {
        world.dial().allocate(&world.arguments(ifname, ipam)).unwrap_err().to_string()
    };
    assert_eq!(allocate("net1", r#"{"type": "dhcp"}"#), "error calling DHCP.Allocate: no more tries");
    assert!(allocate("net7", r#"{"type": "dhcp"}"#).contains("Link not found"));
    let bad = r#"{"type": "dhcp", "request": [{"option": "mtu"}]}"#;
    assert!(allocate("net1", bad).contains(r#"Can not parse option "mtu""#));
    let mut elsewhere = world.arguments("net1", r#"{"type": "dhcp"}"#);
    elsewhere.netns = "/run/netns/nowhere".into();
    assert!(world.dial().allocate(&elsewhere).unwrap_err().to_string().contains("no such file"));
}

/// With leases of four seconds: renewed at the server; when that is gone the address goes too; when it is back there is one again.
#[test]
fn a_lease_is_renewed_ends_with_its_server_and_comes_back() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    world.start();
    let server = world.udhcpd(4, 20, 30);
    let first = world.attach().ips[0].address.to_string();
    let began = || world.kept().map_or(0, |kept| kept["since_ms"].as_u64().unwrap());
    let start = began();
    eventually("it is renewed", || {
        began() > start + 1000 && world.addresses() == std::slice::from_ref(&first)
    });
    drop(server);
    eventually("the address goes with the lease", || world.addresses().is_empty());
    assert_eq!(world.gateways(), Vec::<String>::new());
    let _server = world.udhcpd(600, 20, 30);
    eventually("the address is back", || {
        world.addresses() == std::slice::from_ref(&first) && world.gateways() == ["10.77.0.1"]
    });
}

/// The server that gave the lease is gone, and another one answers who asks all of them: the lease goes on there, and so does the
/// interface with it.
#[test]
fn a_lease_goes_on_with_another_server() {
    let Some(mut world) = World::new(&["dnsmasq"]) else { return };
    world.start();
    let times = ["--dhcp-option=option:T1,2s", "--dhcp-option=option:T2,4s"];
    let range = "--dhcp-range=10.77.0.10,10.77.0.19,255.255.255.0,10m";
    let first = world.dnsmasq(&[range, times[0], times[1]]);
    let address = world.attach().ips[0].address.to_string();
    let server = || world.kept().map_or_else(String::new, |kept| kept["lease"]["server"].to_string());
    assert!(server().contains("10.77.0.1"), "{:?}", world.kept());
    drop(first);
    std::fs::remove_file(world.path("dnsmasq.leases")).unwrap();
    world.server_ip("address del 10.77.0.1/16 dev srv");
    world.server_ip("address add 10.77.0.2/16 dev srv");
    let _second = world.dnsmasq(&[range, times[0], times[1]]);
    eventually("the other server has taken it on", || server().contains("10.77.0.2"));
    assert_eq!(world.addresses(), [address]);
    // Its router is the new server: the route follows.
    eventually("the route follows", || world.gateways() == ["10.77.0.2"]);
    assert!(text(&world.path("dnsmasq.leases")).contains("10.77.0.1"), "the second server knows the lease");
}

/// The server has other addresses after a restart, and refuses the old one.
#[test]
fn an_address_that_is_refused_moves() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    world.start();
    let server = world.udhcpd(4, 20, 30);
    world.attach();
    world.pod_ip("route add 10.60.0.0/16 via 10.77.0.7");
    drop(server);
    let _server = world.udhcpd(600, 120, 130);
    eventually("the address moves", || {
        world.addresses().iter().any(|a| a.starts_with("10.77.0.12") || a.starts_with("10.77.0.13"))
    });
    assert_eq!(world.addresses().len(), 1);
    eventually("its routes come along", || world.gateways() == ["10.77.0.1"]);
    let others = world.pod().routes.into_iter().filter(|r| r.dst.to_string() == "10.60.0.0/16").count();
    assert_eq!(others, 1, "a route that is not the lease's stays");
}

#[test]
fn an_interface_that_is_gone_is_forgotten_silently() {
    let Some(mut world) = World::new(&["busybox"]) else { return };
    world.start();
    let _server = world.udhcpd(4, 20, 30);
    world.attach();
    world.pod_ip("link delete net1");
    eventually("the lease is forgotten", || world.kept().is_none());
}
