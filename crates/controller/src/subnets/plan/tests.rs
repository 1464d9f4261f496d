use polynic_api::spider::annotation::Annotations;
use polynic_ipam::Controller;
use serde_json::{Value, json};

use super::*;

const RULES: Rules = Rules { ipv4: true, ipv6: true, subnets: true, protect_in_use: false };
const UID: &str = "6c0f0d0e-1111-2222-3333-abcdef012345";

fn subnet(name: &str, cidr: &str, ips: &str) -> SpiderSubnet {
    let spec = json!({"ipVersion": 4, "subnet": cidr, "ips": [ips], "gateway": cidr.replace("0/24", "254")});
    let mut subnet = SpiderSubnet::new(name, serde_json::from_value(spec).unwrap());
    subnet.metadata.uid = format!("uid of {name}");
    subnet_rules::mutate(&mut subnet);
    subnet
}

fn application(replicas: u32, annotations: &[(&str, &str)]) -> Application {
    let annotations: Annotations = annotations
        .iter()
        .map(|(key, value)| (format!("ipam.spidernet.io/{key}"), (*value).to_owned()))
        .collect();
    let text = str::to_owned;
    let controller = Controller {
        api_version: text("apps/v1"),
        kind: text("Deployment"),
        name: text("web"),
        uid: text(UID),
    };
    Application {
        namespace: "a".into(),
        controller,
        replicas,
        annotations: annotations.into_iter().collect(),
    }
}

fn world(application: Option<Application>) -> World {
    World {
        subnets: vec![subnet("s", "10.0.0.0/24", "10.0.0.1-10.0.0.20")],
        applications: application.into_iter().collect(),
        complete: true,
        ..World::default()
    }
}

/// Takes the steps of plans until there is none; answers the problems of the last plan.
fn settle(world: &mut World) -> Vec<String> {
    for _ in 0..10 {
        let plan = plan(world, Some(1), RULES);
        if plan.steps.is_empty() {
            return plan.problems;
        }
        plan.steps.into_iter().for_each(|step| take(world, step));
    }
    panic!("never settled")
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::SetStatus { subnet, status, .. } => {
            let subnet = world.subnets.iter_mut().find(|there| there.metadata.name == subnet).unwrap();
            subnet.status = Some(status);
        }
        Step::CreatePool(pool) => world.pools.push(*pool),
        Step::UpdatePool(pool) => {
            let there =
                world.pools.iter_mut().find(|there| there.metadata.name == pool.metadata.name).unwrap();
            *there = *pool;
        }
        Step::DeletePool { pool, .. } => world.pools.retain(|there| there.metadata.name != pool),
        other => panic!("{other:?}"),
    }
}

fn allocate(world: &mut World, ips: &[&str]) {
    let records: serde_json::Map<String, Value> =
        ips.iter().map(|ip| ((*ip).to_owned(), json!({}))).collect();
    let text = Value::Object(records).to_string();
    world.pools[0].status = Some(serde_json::from_value(json!({"allocatedIPs": text})).unwrap());
}

#[test]
fn an_application_gets_its_pool_with_names_labels_and_addresses_of_the_contract() {
    let mut world = world(Some(application(2, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    let first = plan(&world, Some(1), RULES);
    let [Step::SetStatus { status, .. }] = first.steps.as_slice() else {
        panic!("the subnet notes it first: {first:?}")
    };
    assert_eq!(
        status.controlled_ip_pools.as_deref(),
        Some(
            r#"{"auto4-web-eth0-abcde":{"ips":["10.0.0.1-10.0.0.3"],"application":"apps_v1_Deployment_a_web"}}"#
        )
    );
    assert_eq!((status.total_ip_count, status.allocated_ip_count), (Some(20), Some(3)));
    assert!(settle(&mut world).is_empty());
    let pool = &world.pools[0];
    assert_eq!(
        (pool.metadata.name.as_str(), pool.spec.ips.as_slice()),
        ("auto4-web-eth0-abcde", &["10.0.0.1-10.0.0.3".to_owned()][..])
    );
    assert_eq!(pool.spec.gateway.as_deref(), Some("10.0.0.254"));
    assert_eq!(pool.metadata.annotation("ipam.spidernet.io/ippool-ip-number"), Some("+1"));
    for (key, value) in [
        ("owner-spider-subnet", "s"),
        ("owner-application-gv", "apps_v1"),
        ("owner-application-kind", "Deployment"),
        ("owner-application-uid", UID),
        ("interface", "eth0"),
        ("ippool-reclaim", "true"),
        ("ip-version", "IPv4"),
        ("ippool-cidr", "10-0-0-0-24"),
    ] {
        assert_eq!(pool.metadata.label(&format!("ipam.spidernet.io/{key}")), Some(value), "{key}");
    }
    let affinity = &pool.spec.pod_affinity.as_ref().unwrap().match_labels;
    assert_eq!((affinity.len(), affinity["ipam.spidernet.io/app-name"].as_str()), (5, "web"));
    // What was made passes the webhook's rules.
    let siblings = polynic_api::admission::Siblings { pools: &[], subnets: &world.subnets };
    assert_eq!(pool_rules::validate_create(pool, siblings, RULES), Ok(()));
}

#[test]
fn pools_grow_by_the_lowest_free_and_shrink_by_the_lowest_unused() {
    let mut world = world(Some(application(2, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    settle(&mut world);
    world.applications[0].replicas = 4;
    settle(&mut world);
    assert_eq!(world.pools[0].spec.ips, ["10.0.0.1-10.0.0.5"]);
    allocate(&mut world, &["10.0.0.1", "10.0.0.4"]);
    world.applications[0].replicas = 1;
    settle(&mut world);
    assert_eq!(world.pools[0].spec.ips, ["10.0.0.1", "10.0.0.4"]);
    world.applications[0].replicas = 0;
    assert_eq!(settle(&mut world).len(), 1, "both are in use: it is tried again");
    assert_eq!(world.pools[0].spec.ips, ["10.0.0.1", "10.0.0.4"]);
}

#[test]
fn reserved_addresses_and_those_of_other_pools_are_not_given() {
    let mut world = world(Some(application(1, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    let manual = json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.2"]});
    world.pools.push(SpiderIPPool::new("manual", serde_json::from_value(manual).unwrap()));
    let reserved = serde_json::from_value(json!({"ipVersion": 4, "ips": ["10.0.0.4"]})).unwrap();
    world.reserved.push(SpiderReservedIP::new("r", reserved));
    settle(&mut world);
    assert_eq!(world.pools[1].spec.ips, ["10.0.0.3", "10.0.0.5"]);
}

#[test]
fn adopted_pools_are_noted_with_what_they_have_inside() {
    let mut world = world(None);
    let manual = json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.15-10.0.0.30"]});
    let mut pool = SpiderIPPool::new("manual", serde_json::from_value(manual).unwrap());
    pool_rules::adopt(&mut pool, &world.subnets[0]);
    world.pools.push(pool);
    settle(&mut world);
    let status = world.subnets[0].status.clone().unwrap();
    assert_eq!(status.controlled_ip_pools.as_deref(), Some(r#"{"manual":{"ips":["10.0.0.15-10.0.0.20"]}}"#));
    world.pools.clear();
    settle(&mut world);
    let status = world.subnets[0].status.clone().unwrap();
    assert_eq!((status.controlled_ip_pools, status.allocated_ip_count), (None, Some(0)));
}

#[test]
fn numbers_and_lists_of_interfaces_are_followed() {
    let several = r#"[{"interface":"eth0","ipv4":["s"]},{"interface":"net1","ipv4":["t"]}]"#;
    let mut world = world(Some(application(9, &[("subnets", several), ("ippool-ip-number", "3")])));
    world.subnets.push(subnet("t", "10.1.0.0/24", "10.1.0.1-10.1.0.9"));
    assert!(settle(&mut world).is_empty());
    let of = |pool: &SpiderIPPool| (pool.metadata.name.clone(), pool.spec.ips.clone());
    let mut pools: Vec<_> = world.pools.iter().map(of).collect();
    pools.sort();
    assert_eq!(pools[0], ("auto4-web-eth0-abcde".to_owned(), vec!["10.0.0.1-10.0.0.3".to_owned()]));
    assert_eq!(pools[1], ("auto4-web-net1-abcde".to_owned(), vec!["10.1.0.1-10.1.0.3".to_owned()]));
}

#[test]
fn what_is_wrong_or_short_is_told_and_changes_nothing() {
    for (annotations, why) in [
        (vec![("subnet", "{")], "invalid format"),
        (vec![("subnet", r#"{"ipv4":["s"]}"#), ("ippool-ip-number", "-1")], "ippool-ip-number"),
        (vec![("subnet", r#"{"ipv4":["s"]}"#), ("ippool-reclaim", "perhaps")], "ippool-reclaim"),
        (vec![("subnet", r#"{"ipv4":["nowhere"]}"#)], "does not exist"),
        (vec![("subnet", r#"{"ipv4":["s"]}"#), ("ippool-ip-number", "99")], "79 addresses more"),
    ] {
        let mut world = world(Some(application(1, &annotations)));
        let problems = settle(&mut world);
        assert!(problems.len() == 1 && problems[0].contains(why), "{problems:?}");
        assert!(world.pools.is_empty());
    }
}

#[test]
fn pools_go_with_their_application_unless_they_are_kept() {
    let mut world = world(Some(application(1, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    settle(&mut world);
    let app = world.applications.remove(0);
    world.complete = false;
    settle(&mut world);
    assert_eq!(world.pools.len(), 1, "nobody knows yet whether the application is gone");
    world.complete = true;
    settle(&mut world);
    assert!(
        world.pools.is_empty() && world.subnets[0].status.as_ref().unwrap().controlled_ip_pools.is_none()
    );

    let mut kept = app.clone();
    kept.annotations.insert("ipam.spidernet.io/ippool-reclaim".into(), "false".into());
    world.applications.push(kept.clone());
    settle(&mut world);
    world.applications.clear();
    settle(&mut world);
    assert_eq!(world.pools.len(), 1);
    kept.controller.uid = "another-uid-99999".into();
    world.applications.push(kept);
    settle(&mut world);
    assert_eq!(world.pools.len(), 1, "the new application takes it over");
    assert_eq!(world.pools[0].metadata.label(label::OWNER_APPLICATION_UID), Some("another-uid-99999"));
}

#[test]
fn another_subnet_is_told_and_not_applied() {
    let mut world = world(Some(application(1, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    world.subnets.push(subnet("t", "10.1.0.0/24", "10.1.0.1-10.1.0.9"));
    settle(&mut world);
    world.applications[0].annotations.insert("ipam.spidernet.io/subnet".into(), r#"{"ipv4":["t"]}"#.into());
    let told = plan(&world, Some(1), RULES);
    assert!(told.steps.is_empty(), "{told:?}");
    assert_eq!(told.changed_subnets[0].0, "auto4-web-eth0-abcde");
}

/// A crash after any step: what follows from the state is the same in the end.
#[test]
fn every_prefix_of_the_steps_leads_to_the_same_end() {
    let fresh = || world(Some(application(2, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    let mut wanted = fresh();
    settle(&mut wanted);
    let mut partial = fresh();
    for _ in 0..5 {
        let Some(step) = plan(&partial, Some(1), RULES).steps.into_iter().next() else { break };
        take(&mut partial, step);
        let mut resumed = partial.clone();
        settle(&mut resumed);
        assert_eq!((&resumed.pools, &resumed.subnets), (&wanted.pools, &wanted.subnets));
    }
}

#[test]
fn a_subnet_that_is_deleted_waits_for_its_pools() {
    let mut world = world(None);
    let mut pool = SpiderIPPool::new(
        "p",
        serde_json::from_value(json!({"ipVersion": 4, "subnet": "10.0.0.0/24"})).unwrap(),
    );
    pool_rules::adopt(&mut pool, &world.subnets[0]);
    world.pools.push(pool);
    world.subnets[0].metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
    assert_eq!(plan(&world, Some(1), RULES).steps, [Step::DeletePoolsFirst("s".into())]);
    world.subnets[0].metadata.finalizers.push("foregroundDeletion".into());
    assert!(plan(&world, Some(1), RULES).steps.is_empty());
    world.pools.clear();
    assert_eq!(plan(&world, Some(1), RULES).steps, [Step::ReleaseSubnet("s".into())]);
}

/// The addresses of the pools as the last plan leaves them.
fn ips(world: &World) -> Vec<Vec<String>> {
    world.pools.iter().map(|pool| pool.spec.ips.clone()).collect()
}

/// The subnet has noted that the lowest address goes, and before the pool loses it a pod gets it.
#[test]
fn an_address_that_was_given_up_and_is_taken_meanwhile_stays() {
    let mut world = world(Some(application(4, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    settle(&mut world);
    assert_eq!(ips(&world), [["10.0.0.1-10.0.0.5"]]);
    world.applications[0].replicas = 3;
    let plan = plan(&world, Some(1), RULES);
    let [step @ Step::SetStatus { .. }] = &plan.steps[..] else { panic!("{plan:?}") };
    take(&mut world, step.clone());
    allocate(&mut world, &["10.0.0.1"]);
    assert!(settle(&mut world).is_empty());
    assert_eq!(ips(&world), [["10.0.0.1", "10.0.0.3-10.0.0.5"]]);
}

/// The subnet has noted what a pool gets, and before the pool is there somebody makes one by hand with the same addresses.
#[test]
fn what_was_noted_and_is_somebody_elses_by_now_is_replaced() {
    let mut world = world(Some(application(2, &[("subnet", r#"{"ipv4":["s"]}"#)])));
    let first = plan(&world, Some(1), RULES);
    first.steps.into_iter().for_each(|step| take(&mut world, step));
    let spec = json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.2"]});
    let mut manual = SpiderIPPool::new("manual", serde_json::from_value(spec).unwrap());
    pool_rules::mutate(&mut manual, &world.subnets, RULES);
    world.pools.push(manual);
    assert!(settle(&mut world).is_empty());
    assert_eq!(ips(&world)[1], ["10.0.0.1", "10.0.0.3-10.0.0.4"]);
}

#[test]
fn a_subnet_that_cannot_serve_is_named_with_the_reason() {
    let asking = |text: &str| world(Some(application(1, &[("subnet", text)])));
    let told = |world: &World| plan(world, Some(1), RULES).problems;
    let there = asking(r#"{"ipv4":["s"]}"#);
    assert_eq!(told(&there), [""; 0]);
    let missing = told(&asking(r#"{"ipv4":["t"]}"#));
    assert!(missing[0].ends_with("asks for IPv4 of SpiderSubnet t, which does not exist"), "{missing:?}");
    let other = told(&asking(r#"{"ipv6":["s"]}"#));
    assert!(other[0].ends_with("asks for IPv6 of SpiderSubnet s, which is of the other family"), "{other:?}");
    let mut going = there;
    going.subnets[0].metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    assert!(told(&going)[0].ends_with("which is being deleted"));
}
