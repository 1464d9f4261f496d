use serde_json::{Value, json};

use super::*;
use crate::spider::SubnetSpec;
use crate::spider::subnet::ControlledPool;

const RULES: Rules = Rules { ipv4: true, ipv6: true, subnets: true, protect_in_use: false };

fn pool(name: &str, spec: Value) -> SpiderIPPool {
    SpiderIPPool::new(name, serde_json::from_value(spec).unwrap())
}

/// A pool of 10.0.0.0/24 with more fields.
fn of(more: Value) -> SpiderIPPool {
    let mut spec = json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.10-10.0.0.20"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pool("p", spec)
}

fn subnet(name: &str, ips: &[&str]) -> SpiderSubnet {
    let spec = SubnetSpec {
        subnet: "10.0.0.0/24".to_owned(),
        ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        gateway: Some("10.0.0.1".to_owned()),
        routes: Some(vec![crate::spider::Route { dst: "10.9.0.0/16".to_owned(), gw: "10.0.0.2".to_owned() }]),
        ..SubnetSpec::default()
    };
    let mut subnet = SpiderSubnet::new(name, spec);
    subnet.metadata.uid = format!("uid of {name}");
    super::super::subnet::mutate(&mut subnet);
    subnet
}

fn fields(result: Result<(), Denial>) -> Vec<String> {
    match result {
        Ok(()) => Vec::new(),
        Err(Denial::Invalid(errors)) => errors.into_iter().map(|error| error.field).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

fn create(pool: &SpiderIPPool, pools: &[SpiderIPPool]) -> Result<(), Denial> {
    validate_create(pool, Siblings { pools, subnets: &[] }, RULES)
}

#[test]
fn a_pool_is_completed() {
    let mut pool =
        pool("p", json!({"subnet": "fd00:7::/64", "ips": ["fd00:7::9", "fd00:7::3-fd00:7::8", "fd00:7::3"]}));
    mutate(&mut pool, &[], RULES);
    assert_eq!(pool.spec.ip_version, Some(6));
    assert_eq!(pool.spec.ips, ["fd00:7::3-fd00:7::9"]);
    assert_eq!(pool.metadata.finalizers, [FINALIZER]);
    assert_eq!(pool.metadata.label(label::IPPOOL_CIDR), Some("fd00-7---64"));
    let once = pool.clone();
    mutate(&mut pool, &[], RULES);
    assert_eq!(pool, once);
}

#[test]
fn a_single_entry_stays_as_it_is_written_and_so_does_what_is_wrong() {
    for ips in [json!(["10.0.0.1-10.0.0.1"]), json!(["10.0.0.1", "nonsense"]), json!(["10.0.0.1", "fd00::1"])]
    {
        let mut pool = of(json!({"ips": ips.clone()}));
        mutate(&mut pool, &[], RULES);
        assert_eq!(json!(pool.spec.ips), ips);
    }
}

#[test]
fn a_pool_that_is_being_deleted_is_not_completed() {
    let mut pool = of(json!({}));
    pool.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    let before = pool.clone();
    mutate(&mut pool, &[], RULES);
    assert_eq!(pool, before);
}

#[test]
fn the_subnet_of_the_same_prefix_adopts_a_pool() {
    let subnets = [subnet("s", &["10.0.0.2-10.0.0.200"])];
    let mut pool = of(json!({}));
    mutate(&mut pool, &subnets, RULES);
    assert_eq!(pool.metadata.owner_references, [owner_reference(&subnets[0])]);
    assert_eq!(pool.metadata.label(label::OWNER_SUBNET), Some("s"));
    assert_eq!(pool.spec.gateway.as_deref(), Some("10.0.0.1"));
    assert_eq!(pool.spec.routes.as_ref().unwrap().len(), 1);
    let once = pool.clone();
    mutate(&mut pool, &subnets, RULES);
    assert_eq!(pool, once);
    let mut own = of(json!({"gateway": "10.0.0.254", "routes": []}));
    mutate(&mut own, &subnets, RULES);
    assert_eq!(
        (own.spec.gateway.as_deref(), own.spec.routes.as_deref()),
        (Some("10.0.0.254"), Some(&[][..]))
    );
    let mut alone = of(json!({}));
    mutate(&mut alone, &subnets, Rules { subnets: false, ..RULES });
    assert!(alone.metadata.owner_references.is_empty() && alone.spec.gateway.is_none());
}

#[test]
fn every_rule_of_a_new_pool_names_its_field() {
    for (more, wanted) in [
        (json!({"ipVersion": null}), "spec.ipVersion"),
        (json!({"ipVersion": 5}), "spec.ipVersion"),
        (json!({"subnet": "10.0.0.0"}), "spec.subnet"),
        (json!({"subnet": "10.0.0.1/24"}), "spec.subnet"),
        (json!({"subnet": "fd00::/64"}), "spec.subnet"),
        (json!({"ips": ["10.0.1.1"]}), "spec.ips[0]"),
        (json!({"ips": ["10.0.0.1", "10.0.0.0/25"]}), "spec.ips[1]"),
        (json!({"ips": ["10.0.0.9-10.0.0.1"]}), "spec.ips[0]"),
        (json!({"ips": ["10.0.0.1 - 10.0.0.9"]}), "spec.ips[0]"),
        (json!({"ips": ["fd00::1"]}), "spec.ips[0]"),
        (json!({"ips": ["10.0.0.1-10.0.0.9", "10.0.0.9"]}), "spec.ips[1]"),
        (json!({"excludeIPs": ["10.0.0.250-10.0.1.3"]}), "spec.excludeIPs[0]"),
        (json!({"gateway": "10.0.1.1"}), "spec.gateway"),
        (json!({"gateway": "nonsense"}), "spec.gateway"),
        (json!({"gateway": "10.0.0.10"}), "spec.gateway"),
        (json!({"routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]}), "spec.routes[0].dst"),
        (json!({"routes": [{"dst": "fd00::/8", "gw": "10.0.0.1"}]}), "spec.routes[0].dst"),
        (json!({"routes": [{"dst": "10.9.0.0/16", "gw": "10.1.0.1"}]}), "spec.routes[0].gw"),
        (
            json!({"routes": [{"dst": "10.9.0.0/16", "gw": "10.0.0.1"}, {"dst": "10.9.0.0/16", "gw": "10.0.0.2"}]}),
            "spec.routes[1].dst",
        ),
        (json!({"podAffinity": {}}), "spec.podAffinity"),
        (
            json!({"podAffinity": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}),
            "spec.podAffinity",
        ),
        (
            json!({"nodeAffinity": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "spec.nodeAffinity",
        ),
        (
            json!({"namespaceAffinity": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}),
            "spec.namespaceAffinity",
        ),
    ] {
        assert_eq!(fields(create(&of(more.clone()), &[])), [wanted], "{more}");
    }
    let all_rules = of(json!({"ips": ["x"], "gateway": "y", "routes": [{"dst": "z", "gw": "10.0.0.1"}]}));
    assert_eq!(fields(create(&all_rules, &[])), ["spec.ips[0]", "spec.gateway", "spec.routes[0].dst"]);
    let v6 = pool(
        "v6",
        json!({"ipVersion": 6, "subnet": "fd00::/64", "routes": [{"dst": "::/0", "gw": "fd00::1"}]}),
    );
    assert_eq!(fields(create(&v6, &[])), ["spec.routes[0].dst"]);
}

#[test]
fn right_pools_pass() {
    for more in [
        json!({"ips": []}),
        json!({"ips": null}),
        json!({"gateway": "10.0.0.1", "routes": [{"dst": "10.9.0.0/16", "gw": "10.0.0.2"}]}),
        json!({"gateway": "10.0.0.10", "excludeIPs": ["10.0.0.10"]}),
        json!({"podAffinity": {"matchLabels": {"a": "b"}}}),
        json!({"vlan": 100}),
    ] {
        assert_eq!(create(&of(more.clone()), &[]), Ok(()), "{more}");
    }
}

#[test]
fn families_that_are_off_are_refused() {
    let rules = Rules { ipv4: false, ..RULES };
    assert_eq!(fields(validate_create(&of(json!({})), Siblings::default(), rules)), ["spec.ipVersion"]);
}

#[test]
fn pools_do_not_get_in_each_others_way() {
    let new = of(json!({}));
    let other = |spec: Value| [pool("other", spec)];
    let taken = [pool("p", json!({"subnet": "10.9.0.0/24"}))];
    assert_eq!(create(&new, &taken), Err(Denial::AlreadyExists));
    let wider = other(json!({"ipVersion": 4, "subnet": "10.0.0.0/16"}));
    assert_eq!(fields(create(&new, &wider)), ["spec.subnet"]);
    let same = other(json!({"subnet": "10.0.0.0/24", "ips": ["10.0.0.15"]}));
    assert_eq!(fields(create(&new, &same)), ["spec.ips"]);
    let excluded = other(
        json!({"subnet": "10.0.0.0/24", "ips": ["10.0.0.15-10.0.0.30"], "excludeIPs": ["10.0.0.15-10.0.0.20"]}),
    );
    assert_eq!(create(&new, &excluded), Ok(()));
    let elsewhere = other(json!({"subnet": "fd00::/16"}));
    assert_eq!(create(&new, &elsewhere), Ok(()));
}

#[test]
fn ip_version_and_subnet_stay() {
    let old = of(json!({}));
    let update = |new: &SpiderIPPool| validate_update(&old, new, Siblings::default(), RULES);
    assert_eq!(update(&old), Ok(()));
    assert_eq!(
        fields(update(&of(json!({"ipVersion": 6, "subnet": "fd00::/64", "ips": []})))),
        ["spec.ipVersion", "spec.subnet"]
    );
    let mut before = old.clone();
    before.spec.ip_version = None;
    assert_eq!(
        validate_update(&before, &old, Siblings::default(), RULES),
        Ok(()),
        "what was absent becomes known"
    );
}

#[test]
fn addresses_in_use_stay_in_the_pool() {
    let mut old = of(json!({}));
    old.status = Some(
        serde_json::from_value(json!({"allocatedIPs": "{\"10.0.0.12\":{\"pod\":\"a/b\",\"podUid\":\"u\"}}"}))
            .unwrap(),
    );
    let with = |more: Value| {
        let mut new = of(more);
        new.status = old.status.clone();
        validate_update(&old, &new, Siblings::default(), RULES)
    };
    assert_eq!(with(json!({"ips": ["10.0.0.12"]})), Ok(()));
    assert_eq!(fields(with(json!({"ips": ["10.0.0.13"]}))), ["spec.ips"]);
    assert_eq!(fields(with(json!({"excludeIPs": ["10.0.0.12"]}))), ["spec.ips"]);
}

#[test]
fn a_pool_that_is_being_deleted_only_loses_its_finalizer() {
    let mut old = of(json!({}));
    old.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    old.metadata.finalizers = vec![FINALIZER.to_owned()];
    let update = |new: &SpiderIPPool| validate_update(&old, new, Siblings::default(), RULES);
    assert!(matches!(update(&old), Err(Denial::Forbidden(_))));
    let mut new = old.clone();
    new.metadata.finalizers.clear();
    assert_eq!(update(&new), Ok(()));
}

#[test]
fn pools_in_use_can_be_protected_from_deletion() {
    let mut pool = of(json!({}));
    pool.status = Some(serde_json::from_value(json!({"allocatedIPCount": 2})).unwrap());
    assert_eq!(validate_delete(&pool, RULES), Ok(()));
    let protected = Rules { protect_in_use: true, ..RULES };
    assert!(matches!(validate_delete(&pool, protected), Err(Denial::Forbidden(why)) if why.contains('2')));
    assert_eq!(validate_delete(&of(json!({})), protected), Ok(()));
}

fn automatic(pool: &mut SpiderIPPool) {
    pool.metadata.labels.insert(label::OWNER_APPLICATION_NAME.to_owned(), "web".to_owned());
}

#[test]
fn automatic_pools_name_their_application_only() {
    let keys: serde_json::Map<String, Value> =
        label::app::ALL.iter().map(|key| ((*key).to_owned(), json!("x"))).collect();
    let mut right = of(json!({"podAffinity": {"matchLabels": keys}}));
    automatic(&mut right);
    assert_eq!(create(&right, &[]), Ok(()));
    let mut wrong = of(json!({"podAffinity": {"matchLabels": {"app": "web"}}}));
    automatic(&mut wrong);
    assert_eq!(fields(create(&wrong, &[])), ["spec.podAffinity"]);
}

#[test]
fn a_pool_keeps_within_what_its_subnet_gives() {
    let with = |subnet: &SpiderSubnet, is_automatic: bool| {
        let mut pool = of(json!({}));
        pool.metadata.owner_references = vec![owner_reference(subnet)];
        if is_automatic {
            automatic(&mut pool);
        }
        validate_create(&pool, Siblings { pools: &[], subnets: std::slice::from_ref(subnet) }, RULES)
    };
    assert_eq!(with(&subnet("s", &["10.0.0.2-10.0.0.200"]), false), Ok(()));
    assert_eq!(fields(with(&subnet("s", &["10.0.0.15-10.0.0.200"]), false)), ["spec.ips"]);
    let mut given = subnet("s", &["10.0.0.2-10.0.0.200"]);
    assert_eq!(fields(with(&given, true)), ["spec.ips"], "nothing is given yet");
    let mut note = |ips: &str| {
        let entry = ControlledPool { ips: vec![ips.to_owned()], application: None };
        given.status.get_or_insert_default().set_controlled_pools(&[("p".to_owned(), entry)].into());
        with(&given, true)
    };
    assert_eq!(note("10.0.0.10-10.0.0.20"), Ok(()));
    assert_eq!(fields(note("10.0.0.10-10.0.0.21")), ["spec.ips"]);
    let mut orphan = of(json!({}));
    orphan.metadata.owner_references = vec![owner_reference(&subnet("gone", &[]))];
    assert_eq!(fields(create(&orphan, &[])), ["spec.ips"]);
}
