//! Properties of the driver for chained plugins, shown by a small one of the tests' own.

use polynic_cni::{Error, Output, PluginConf, Success, Verb};
use polynic_net::{Attr, Change, Entropy, Facts, Family, IpNet, Needs, Place, Plan, Rule, Sysctl, SysctlKey};
use serde_json::{Value, json};

use super::{NETNS, World, assert_same, host_local};
use crate::{Call, ChainedAttachment, ChainedPlugin, Leftovers, Planned, drive};

/// Moves the interface's default route to a table, with a rule for its address, a new MAC and a setting on the node.
struct Mover;

struct Move {
    table: u32,
}

impl ChainedPlugin for Mover {
    fn plugin_type(&self) -> &'static str {
        "mover"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error> {
        let table = call.conf.keys().get("table").and_then(Value::as_u64);
        let table = table.ok_or_else(|| call.error("table is missing"))?;
        Ok(Box::new(Move { table: table as u32 }))
    }
}

fn forwarding() -> SysctlKey {
    SysctlKey::ip_forward()
}

impl ChainedAttachment for Move {
    fn shares(&self) -> bool {
        true
    }

    fn needs(&self, call: &Call<'_>, _: &Success) -> Needs {
        let mut needs = Needs::default();
        needs.pod.link(&call.ifname);
        needs.pod.routes = true;
        needs
    }

    fn further_needs(&self, _: &Call<'_>, _: &Success, facts: &Facts) -> Needs {
        assert!(facts.pod.is_some());
        let mut needs = Needs::default();
        needs.host.sysctl(forwarding());
        needs
    }

    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let pod = facts.pod.as_ref().unwrap();
        let mut plan = Plan::default();
        let value = facts.host.sysctl(&forwarding()).unwrap().to_owned();
        if value != "1" {
            plan.ensure(Change::sysctl(Place::Host, Sysctl { key: forwarding(), value }, "1"));
        }
        let on_link = |r: &&polynic_net::Route| r.is_default() && r.link.as_ref() == Some(&call.ifname);
        for route in pod.routes.iter().filter(on_link) {
            plan.own(Change::delete_route(Place::Pod, route.clone()));
            plan.own(Change::add_route(Place::Pod, route.clone().in_table(self.table)));
        }
        for ip in &prev.ips {
            let from = IpNet::new(ip.address.addr(), ip.address.max_prefix_len()).unwrap();
            plan.own(Change::add_rule(
                Place::Pod,
                Rule {
                    family: Family::of(from.addr()),
                    priority: self.table,
                    from: Some(from),
                    to: None,
                    iif: None,
                    mark: None,
                    table: self.table,
                },
            ));
        }
        let old = pod.link(&call.ifname).unwrap().mac.unwrap();
        plan.own(Change::attr(Place::Pod, &call.ifname, Attr::Mac(old), Attr::Mac(entropy.mac())));
        Ok(Planned { plan, result: prev.clone() })
    }

    fn leftovers(&self, _: &Call<'_>, _: &Facts) -> Leftovers {
        Leftovers::default()
    }
}

fn macvlan() -> Value {
    json!({"cniVersion": "1.1.0", "name": "lab", "type": "macvlan", "master": "eth0", "ipam": host_local(false)})
}

fn mover(table: u32) -> Value {
    json!({"cniVersion": "1.1.0", "name": "lab", "type": "mover", "table": table})
}

fn call(world: &World, verb: Verb, conf: &Value, netns: &str) -> Result<Output, Error> {
    let invocation = world.invocation("c1", netns, conf);
    let conf = PluginConf::parse(&invocation.stdin).unwrap();
    drive::run_chained(&Mover, &world.registry.context(), verb, &invocation, &conf)
}

fn add(world: &World, conf: &Value) -> Result<Success, Error> {
    call(world, Verb::Add, conf, NETNS)?.into_success("mover")
}

#[test]
fn a_failure_at_any_step_leaves_what_the_main_plugin_made() {
    for step in 1.. {
        let world = World::new();
        let first = world.add(&macvlan()).unwrap();
        let before = world.state();
        world.door.fail_at(step);
        if add(&world, &World::with_prev(&mover(120), &first)).is_ok() {
            assert!(step > 5, "{step} steps");
            return;
        }
        assert_same(&before, &world.state(), &format!("step {step}"));
    }
}

#[test]
fn a_repeated_chain_changes_nothing_and_check_holds() {
    let world = World::new();
    for _ in 0..2 {
        let first = world.add(&macvlan()).unwrap();
        let conf = World::with_prev(&mover(120), &first);
        assert_eq!(add(&world, &conf).unwrap(), first);
    }
    let first = world.add(&macvlan()).unwrap();
    let state = world.state();
    assert_eq!(add(&world, &World::with_prev(&mover(120), &first)).unwrap(), first);
    assert_same(&state, &world.state(), "third time");
    call(&world, Verb::Check, &World::with_prev(&mover(120), &first), NETNS).unwrap();
}

#[test]
fn check_names_what_is_gone_and_a_repeated_add_mends_it() {
    let world = World::new();
    let first = world.add(&macvlan()).unwrap();
    let conf = World::with_prev(&mover(120), &first);
    add(&world, &conf).unwrap();
    let state = world.state();
    let rule = world.rules().into_iter().find(|r| r.table == 120).unwrap();
    world.door.pod(NETNS, |pod| {
        pod.change(&Change::delete_rule(Place::Pod, rule));
    });
    let error = call(&world, Verb::Check, &conf, NETNS).unwrap_err();
    assert!(error.msg.contains("rule 120 to table 120 is missing"), "{error}");
    add(&world, &conf).unwrap();
    assert_same(&state, &world.state(), "mended");
    // The main plugin's repetition leaves moved what was moved.
    world.add(&macvlan()).unwrap();
    assert_same(&state, &world.state(), "main plugin again");
}

#[test]
fn two_configurations_stand_beside_each_other_and_go_in_reverse() {
    let world = World::new();
    let first = world.add(&macvlan()).unwrap();
    let bare = world.state().0;
    add(&world, &World::with_prev(&mover(120), &first)).unwrap();
    let one = world.state().0;
    add(&world, &World::with_prev(&mover(121), &first)).unwrap();
    for conf in [mover(120), mover(121)] {
        call(&world, Verb::Check, &World::with_prev(&conf, &first), NETNS).unwrap();
    }
    for (conf, expected) in [(mover(121), &one), (mover(120), &bare), (mover(120), &bare)] {
        call(&world, Verb::Del, &conf, NETNS).unwrap();
        let left = expected.diff(&world.state().0);
        // Forwarding on the node is shared, and stays.
        assert!(left.iter().all(|l| l.contains("forward")), "{conf}: {left:?}");
    }
}

#[test]
fn an_edited_network_does_not_keep_del_from_its_record() {
    let world = World::new();
    let first = world.add(&macvlan()).unwrap();
    add(&world, &World::with_prev(&mover(120), &first)).unwrap();
    call(&world, Verb::Del, &mover(999), NETNS).unwrap();
    assert!(world.rules().iter().all(|r| r.table != 120));
    let mut broken = mover(120);
    broken["table"] = json!("x");
    add(&world, &World::with_prev(&mover(120), &first)).unwrap();
    call(&world, Verb::Del, &broken, NETNS).unwrap();
    assert!(world.rules().iter().all(|r| r.table != 120));
    assert!(world.door.snapshot().lines().iter().any(|l| l.contains("link net1")));
}

#[test]
fn another_prev_result_starts_anew() {
    let world = World::new();
    let first = world.add(&macvlan()).unwrap();
    add(&world, &World::with_prev(&mover(120), &first)).unwrap();
    let mut other = first.clone();
    other.ips[0].address = "192.168.1.201/24".parse().unwrap();
    assert_eq!(add(&world, &World::with_prev(&mover(120), &other)).unwrap(), other);
    let from: Vec<String> =
        world.rules().iter().filter_map(|r| r.from).map(|net| net.addr().to_string()).collect();
    assert_eq!(from, ["192.168.1.201"]);
}

#[test]
fn a_failure_at_any_step_leaves_what_was_to_be_replaced() {
    for step in 1.. {
        let world = World::new();
        let first = world.add(&macvlan()).unwrap();
        add(&world, &World::with_prev(&mover(120), &first)).unwrap();
        let before = world.state();
        let mut other = first.clone();
        other.ips[0].address = "192.168.1.201/24".parse().unwrap();
        world.door.fail_at(step);
        if add(&world, &World::with_prev(&mover(120), &other)).is_ok() {
            assert!(step > 8, "{step} steps");
            return;
        }
        assert_same(&before, &world.state(), &format!("step {step}"));
        call(&world, Verb::Check, &World::with_prev(&mover(120), &first), NETNS).unwrap();
    }
}

#[test]
fn del_removes_an_interrupted_attempt_and_what_it_was_to_replace() {
    let world = World::new();
    let first = world.add(&macvlan()).unwrap();
    let bare = world.state();
    let conf = World::with_prev(&mover(120), &first);
    add(&world, &conf).unwrap();
    let record = world.state().1.into_keys().find(|name| name.contains("mover")).unwrap();
    let mut attempt: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    // The attempt ended before it had changed anything, or nearly: its plan is the same.
    attempt["given"] = json!("another");
    std::fs::write(record.replace(".json", ".intent"), attempt.to_string()).unwrap();
    call(&world, Verb::Del, &conf, NETNS).unwrap();
    let left = bare.0.diff(&world.state().0);
    assert!(left.iter().all(|l| l.contains("forward")), "{left:?}");
    assert_eq!(bare.1, world.state().1);
}

#[test]
fn without_prev_result_add_is_refused_and_del_is_not() {
    let world = World::new();
    let before = world.state();
    let error = add(&world, &mover(120)).unwrap_err();
    assert!(error.msg.contains("there is no prevResult"), "{error}");
    for netns in [NETNS, "/gone", ""] {
        call(&world, Verb::Del, &mover(120), netns).unwrap();
    }
    assert_same(&before, &world.state(), "nothing happened");
}

#[test]
fn del_without_namespace_keeps_no_record_and_gc_takes_all_of_them() {
    for gc in [false, true] {
        let world = World::new();
        let first = world.add(&macvlan()).unwrap();
        add(&world, &World::with_prev(&mover(120), &first)).unwrap();
        add(&world, &World::with_prev(&mover(121), &first)).unwrap();
        world.door.remove_netns(NETNS);
        if gc {
            let mut conf = mover(120);
            conf["cni.dev/valid-attachments"] = json!([]);
            call(&world, Verb::Gc, &conf, "").unwrap();
        } else {
            call(&world, Verb::Del, &mover(121), "/gone").unwrap();
            call(&world, Verb::Del, &mover(120), "").unwrap();
        }
        let files = world.state().1;
        assert!(files.keys().all(|name| !name.contains("mover")), "{files:?}");
    }
}
