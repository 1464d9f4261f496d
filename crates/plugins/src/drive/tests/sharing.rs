//! What attachments have in common: locks, shared objects, names. The same properties for all main plugins.

use std::fs::{File, TryLockError};
use std::sync::atomic::{AtomicU32, Ordering};

use polynic_cni::{Delegate, PluginConf};
use polynic_net::Needs;

use super::*;
use crate::{Context, interfaces, masquerade};

const OTHER: &str = "/run/netns/other";

/// Looks around whenever an IPAM plugin is called.
struct Watch<'a> {
    registry: &'a Registry,
    look: &'a (dyn Fn(Verb) + Sync),
    calls: AtomicU32,
}

impl Delegate for Watch<'_> {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        (self.look)(verb);
        self.registry.call(plugin_type, verb, invocation)
    }
}

impl World {
    /// ADD, with `look` called before each call of the IPAM plugin; the number of those calls.
    pub(super) fn add_watched(
        &self,
        conf: &Value,
        look: &(dyn Fn(Verb) + Sync),
    ) -> (Result<Output, Error>, u32) {
        let invocation = self.invocation("c1", NETNS, conf);
        let parsed = PluginConf::parse(&invocation.stdin).unwrap();
        let attacher = interfaces::ALL.into_iter().find(|a| conf["type"] == a.plugin_type()).unwrap();
        let watch = Watch { registry: &self.registry, look, calls: AtomicU32::new(0) };
        let context = Context { delegate: &watch, ..self.registry.context() };
        let outcome = super::super::run(attacher, &context, Verb::Add, &invocation, &parsed);
        (outcome, watch.calls.load(Ordering::Relaxed))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("state").join(name)
    }

    /// Whether nobody holds the lock of shared objects, shared or alone.
    pub(super) fn is_shared_lock_free(&self) -> bool {
        match File::open(self.path("shared.lock")) {
            Ok(file) => file.try_lock().is_ok(),
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        }
    }

    fn add_other(&self, conf: &Value) -> Result<Success, Error> {
        self.call_in(Verb::Add, conf, "c2", OTHER)?.into_success("test")
    }
}

fn with_ipam() -> impl Iterator<Item = Value> {
    configurations().into_iter().filter(|conf| conf.get("ipam").is_some())
}

#[test]
fn nobody_waits_for_what_is_shared_while_an_ipam_plugin_works() {
    for conf in with_ipam() {
        let world = World::new();
        let look = |_| assert!(world.is_shared_lock_free(), "{conf}");
        let (added, calls) = world.add_watched(&conf, &look);
        added.unwrap();
        assert_eq!(calls, 1, "{conf}");
        world.call(Verb::Del, &conf).unwrap();
        world.door.fail_at(1);
        let (refused, calls) = world.add_watched(&conf, &look);
        refused.unwrap_err();
        assert_eq!(calls, 2, "{conf}: the addresses are given back");
    }
}

/// What an interrupted ADD left is cleared, and the directory that the lock is held on stays.
#[test]
fn the_lock_of_a_container_is_held_throughout() {
    for conf in with_ipam() {
        let world = World::new();
        let directory = world.path("attachments/c1");
        std::fs::create_dir_all(&directory).unwrap();
        let plugin = conf["type"].as_str().unwrap();
        crate::record::Slot::new(&directory, "lab", "net1", plugin).reserve().unwrap();
        let look = |verb| {
            let held = File::open(&directory).unwrap().try_lock();
            assert!(matches!(held, Err(TryLockError::WouldBlock)), "{conf}, {verb:?}");
        };
        let (added, calls) = world.add_watched(&conf, &look);
        added.unwrap();
        assert_eq!(calls, 2, "{conf}: the interrupted ADD's addresses go, then new ones come");
    }
}

/// The runtime calls DEL for what was refused, too.
#[test]
fn the_del_of_a_refused_add_leaves_the_interface_to_the_network_that_has_it() {
    for conf in configurations().iter().filter(|conf| conf["type"] != "loopback") {
        let world = World::new();
        world.add(conf).unwrap();
        let state = world.state();
        let mut other = conf.clone();
        other["name"] = json!("other");
        world.add(&other).unwrap_err();
        world.call(Verb::Del, &other).unwrap();
        assert_same(&state, &world.state(), &conf.to_string());
        other["bridge"] = json!(7);
        other["master"] = json!(7);
        world.call(Verb::Del, &other).unwrap();
        assert_same(
            &state,
            &world.state(),
            &format!("{conf}, and a DEL with a configuration that cannot be read"),
        );
        world.call(Verb::Del, conf).unwrap();
        assert_eq!(world.state().1, BTreeMap::new(), "{conf}");
    }
}

/// A second attachment, which finds what the first has made.
fn with_two(conf: &Value) -> World {
    let world = World::new();
    world.door.add_netns(OTHER);
    world.add(conf).unwrap();
    world.add_other(conf).unwrap_or_else(|e| panic!("{conf}: {e}"));
    world
}

fn bridges() -> Vec<Value> {
    let names = [("br1", false), ("cni0", true)];
    let confs = names.map(|(bridge, masquerades)| {
        json!({"cniVersion": "1.1.0", "name": "lab", "type": "bridge", "bridge": bridge, "isDefaultGateway": true,
            "promiscMode": true, "ipMasq": masquerades, "macspoofchk": true, "mtu": 1400, "ipam": host_local(true)})
    });
    confs.into()
}

#[test]
fn an_add_again_makes_what_somebody_flushed_whoever_made_it_first() {
    for conf in bridges() {
        let world = with_two(&conf);
        let state = world.state();
        world.door.host(|host| {
            host.flush_firewall();
        });
        world.add_other(&conf).unwrap_or_else(|e| panic!("{conf}: {e}"));
        world.add(&conf).unwrap();
        assert_same(&state, &world.state(), &conf.to_string());
    }
}

#[test]
fn an_add_again_makes_the_bridge_that_somebody_deleted_whoever_made_it_first() {
    for conf in bridges() {
        let world = with_two(&conf);
        let state = world.state();
        let bridge: IfName = conf["bridge"].as_str().unwrap().parse().unwrap();
        world.door.open(None).unwrap().delete_links(Place::Host, &[bridge]).unwrap();
        world.add_other(&conf).unwrap_or_else(|e| panic!("{conf}: {e}"));
        world.add(&conf).unwrap();
        assert_same(&state, &world.state(), &conf.to_string());
    }
}

/// CHECK of either sees it, and DEL of either leaves it.
#[test]
fn what_is_shared_is_checked_for_all_and_removed_by_none() {
    let conf = &bridges()[1];
    let world = with_two(conf);
    let result = world.add_other(conf).unwrap();
    let check = World::with_prev(conf, &result);
    world.call_in(Verb::Check, &check, "c2", OTHER).unwrap();
    world.call(Verb::Del, conf).unwrap();
    world.call_in(Verb::Check, &check, "c2", OTHER).unwrap();
    world.door.host(|host| {
        host.flush_firewall();
    });
    let error = world.call_in(Verb::Check, &check, "c2", OTHER).unwrap_err();
    assert!(error.msg.contains("firewall object"), "{error}");
    world.add_other(conf).unwrap();
    world.call_in(Verb::Del, conf, "c2", OTHER).unwrap();
    let mut needs = Needs::default();
    needs.merge(masquerade::needs());
    let facts = world.door.open(None).unwrap().observe(&needs).unwrap();
    assert_eq!(facts.host.firewall.len(), 6, "the shared objects: {:?}", facts.host.firewall);
}

#[test]
fn a_pod_that_works_goes_on_working_when_a_repeated_add_fails() {
    for conf in bridges() {
        let world = with_two(&conf);
        world.door.host(|host| {
            host.flush_firewall();
        });
        let before = world.state();
        for step in 1.. {
            world.door.fail_at(step);
            let again = world.add_other(&conf);
            world.door.heal();
            if again.is_ok() {
                break;
            }
            assert_same(&before, &world.state(), &format!("{conf}, step {step}"));
            assert!(step < 100, "{conf}");
        }
    }
}
