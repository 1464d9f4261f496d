//! The same properties with an IPAM plugin that works on the interface: `dhcp`, with a daemon of the test's own.

use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use polynic_cni::{Ip, Route};
use polynic_dhcp::rpc::{Arguments, Service, server};
use polynic_net::Needs;

use super::*;

/// Gives one address to whoever asks for an interface that is there and up.
struct Server {
    door: FakeDoor,
    /// Interfaces that have a lease.
    leases: Mutex<Vec<String>>,
    refuses: bool,
}

impl Service for Server {
    fn allocate(&self, arguments: Arguments) -> Result<Success, String> {
        let ifname = IfName::new(&arguments.ifname).map_err(|e| e.to_string())?;
        let mut needs = Needs::default();
        needs.pod.link(&ifname);
        let mut kernel = self.door.open(Some(&arguments.netns)).map_err(|e| e.to_string())?;
        let facts = kernel.observe(&needs).map_err(|e| e.to_string())?;
        let link = facts.link(Place::Pod, &ifname).ok_or("Link not found")?;
        if self.refuses || !link.up {
            return Err("no more tries".into());
        }
        let mut leases = self.leases.lock().unwrap();
        leases.retain(|known| *known != arguments.ifname);
        leases.push(arguments.ifname);
        let gateway = Some("192.168.1.1".parse().unwrap());
        let ip = Ip { gateway, ..Ip::new("192.168.1.77/24".parse().unwrap()) };
        let default = Route::new("0.0.0.0/0".parse().unwrap(), gateway);
        Ok(Success { ips: vec![ip], routes: vec![default], ..Success::default() })
    }

    fn release(&self, arguments: Arguments) -> Result<(), String> {
        self.leases.lock().unwrap().retain(|known| *known != arguments.ifname);
        Ok(())
    }

    fn check(&self, arguments: Arguments) -> Result<(), String> {
        let held = self.leases.lock().unwrap().contains(&arguments.ifname);
        if held { Ok(()) } else { Err("there is no lease".into()) }
    }
}

/// A world with a daemon that serves as long as the test's process lives.
fn world(refuses: bool) -> (World, Arc<Server>) {
    let world = World::new();
    let server = Arc::new(Server { door: world.door.clone(), leases: Mutex::default(), refuses });
    let listener = UnixListener::bind(world.directory.path().join("dhcp.sock")).unwrap();
    let service = server.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let service = service.clone();
            std::thread::spawn(move || server::serve(stream, service));
        }
    });
    (world, server)
}

fn configurations() -> Vec<Value> {
    let confs = [
        json!({"type": "macvlan", "master": "eth0"}),
        json!({"type": "bridge", "bridge": "br1", "isDefaultGateway": true, "ipMasq": true}),
        json!({"type": "bridge", "bridge": "br1"}),
        json!({"type": "ptp", "ipMasq": true}),
        json!({"type": "ipvlan", "master": "eth0"}),
        json!({"type": "vlan", "master": "eth0", "vlanId": 7}),
        json!({"type": "host-device", "device": "eth1"}),
        json!({"type": "tap"}),
    ];
    confs.into_iter().map(|conf| with_dhcp(conf, "")).collect()
}

fn with_dhcp(mut conf: Value, socket: &str) -> Value {
    conf["cniVersion"] = json!("1.0.0");
    conf["name"] = json!("lab");
    conf["ipam"] = json!({"type": "dhcp", "daemonSocketPath": socket});
    conf
}

fn served(world: &World, conf: &Value) -> Value {
    let socket = world.directory.path().join("dhcp.sock");
    with_dhcp(conf.clone(), socket.to_str().unwrap())
}

#[test]
fn the_interface_is_there_first_and_gets_what_is_leased() {
    for conf in configurations() {
        let (world, server) = world(false);
        let conf = served(&world, &conf);
        let result = world.add(&conf).unwrap_or_else(|e| panic!("{conf}: {e}"));
        assert_eq!(result.ips[0].address.to_string(), "192.168.1.77/24", "{conf}");
        let lines = world.door.snapshot().lines().join("\n");
        assert!(lines.contains("192.168.1.77/24"), "{conf}: {lines}");
        let with_prev = World::with_prev(&conf, &result);
        world.call(Verb::Check, &with_prev).unwrap_or_else(|e| panic!("{conf}: {e}"));
        assert_eq!(world.add(&conf).unwrap(), result, "{conf}: again");
        server.leases.lock().unwrap().clear();
        let error = world.call(Verb::Check, &with_prev).unwrap_err();
        assert!(error.msg.contains("error calling DHCP.Check"), "{error}");
        assert!(server.leases.lock().unwrap().is_empty(), "CHECK gets no lease");
    }
}

/// Makes what is shared, so that what comes afterwards is the attachment's own.
fn share(world: &World, conf: &Value) {
    world.add(conf).unwrap();
    world.call(Verb::Del, conf).unwrap();
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    for conf in configurations() {
        let (world, server) = world(false);
        let conf = served(&world, &conf);
        share(&world, &conf);
        for step in 1.. {
            let before = world.state();
            world.door.fail_at(step);
            let Err(error) = world.add(&conf) else {
                assert!(step > 4, "{conf}: {step} steps");
                break;
            };
            world.door.heal();
            assert!(error.details.contains("pod blue/web"), "{error:?}");
            assert_same(&before, &world.state(), &format!("{conf}, step {step}: {error}"));
            assert!(server.leases.lock().unwrap().is_empty(), "{conf}, step {step}");
        }
    }
}

/// Others may have built on it while the IPAM plugin worked.
#[test]
fn a_failure_of_who_makes_what_is_shared_leaves_nothing_else() {
    let conf = &configurations()[1];
    for step in 1.. {
        let (world, server) = world(false);
        let conf = served(&world, conf);
        let before = world.state();
        world.door.fail_at(step);
        if world.add(&conf).is_ok() {
            assert!(step > 10, "{step} steps");
            break;
        }
        world.door.heal();
        assert_eq!(own_lines(&world), Vec::<String>::new(), "step {step}");
        assert_eq!(world.state().1, before.1, "step {step}");
        assert!(server.leases.lock().unwrap().is_empty(), "step {step}");
        world.add(&conf).unwrap_or_else(|e| panic!("again after step {step}: {e}"));
    }
}

fn own_lines(world: &World) -> Vec<String> {
    let own = |line: &&String| ["net1", "veth", "id: c1"].iter().any(|word| line.contains(word));
    world.door.snapshot().lines().iter().filter(own).cloned().collect()
}

#[test]
fn an_add_that_died_at_any_step_is_cleaned_by_del() {
    for conf in configurations() {
        let (world, server) = world(false);
        let conf = served(&world, &conf);
        world.add(&conf).unwrap();
        world.call(Verb::Del, &conf).unwrap();
        let shared = world.state();
        for step in 1..40 {
            world.door.crash_at(step);
            let died = world.add(&conf).is_err();
            world.door.heal();
            world
                .call(Verb::Del, &conf)
                .unwrap_or_else(|e| panic!("{conf}, DEL after a crash at {step}: {e}"));
            assert_same(&shared, &world.state(), &format!("{conf}, crash at {step}"));
            assert!(server.leases.lock().unwrap().is_empty(), "{conf}, crash at {step}");
            if !died {
                break;
            }
        }
    }
}

#[test]
fn without_a_lease_add_leaves_what_is_shared_and_says_why() {
    for conf in configurations() {
        let (world, _server) = world(true);
        let conf = served(&world, &conf);
        let empty = world.state();
        for _ in 0..2 {
            let error = world.add(&conf).unwrap_err();
            assert_eq!(error.msg, "error calling DHCP.Allocate: no more tries");
            assert_eq!(own_lines(&world), Vec::<String>::new(), "{conf}");
            assert_eq!(world.state().1, empty.1, "{conf}");
        }
        let is_there = world.door.snapshot().lines().iter().any(|line| line.starts_with("host: link br1 "));
        assert_eq!(is_there, conf["type"] == "bridge", "{conf}");
        if conf.get("ipMasq").is_none() && conf["type"] != "bridge" {
            assert_same(&empty, &world.state(), &conf.to_string());
        }
    }
}

#[test]
fn nobody_waits_for_what_is_shared_while_a_server_is_asked() {
    for conf in configurations() {
        let (world, _server) = world(false);
        let conf = served(&world, &conf);
        let (added, calls) = world.add_watched(&conf, &|_| assert!(world.is_shared_lock_free(), "{conf}"));
        added.unwrap_or_else(|e| panic!("{conf}: {e}"));
        assert_eq!(calls, 1, "{conf}");
    }
}

#[test]
fn without_a_daemon_add_and_status_fail_and_del_does_not() {
    let world = World::new();
    let conf = served(&world, &configurations()[0]);
    let before = world.state();
    let error = world.add(&conf).unwrap_err();
    assert!(error.msg.starts_with("error dialing DHCP daemon: dial unix "), "{error}");
    assert_same(&before, &world.state(), "no daemon");
    let newest = json!("1.1.0");
    let status = json!({"cniVersion": newest, "name": "lab", "type": "macvlan", "ipam": conf["ipam"]});
    assert_eq!(world.call_in(Verb::Status, &status, "", "").unwrap_err().code, 50);
    world.call(Verb::Del, &conf).unwrap();
}
