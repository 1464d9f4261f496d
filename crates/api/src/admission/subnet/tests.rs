use serde_json::{Value, json};

use super::*;
use crate::spider::subnet::ControlledPool;

const RULES: Rules = Rules { ipv4: true, ipv6: true, subnets: true, protect_in_use: false };

fn of(more: Value) -> SpiderSubnet {
    let mut spec = json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.10-10.0.0.20"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SpiderSubnet::new("s", serde_json::from_value(spec).unwrap())
}

fn pool(spec: Value) -> SpiderIPPool {
    SpiderIPPool::new("p", serde_json::from_value(spec).unwrap())
}

fn fields(result: Result<(), Denial>) -> Vec<String> {
    match result {
        Ok(()) => Vec::new(),
        Err(Denial::Invalid(errors)) => errors.into_iter().map(|error| error.field).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

fn create(subnet: &SpiderSubnet, pools: &[SpiderIPPool], subnets: &[SpiderSubnet]) -> Result<(), Denial> {
    validate_create(subnet, Siblings { pools, subnets }, RULES)
}

#[test]
fn a_subnet_is_completed() {
    let mut subnet = of(json!({"ipVersion": null, "ips": ["10.0.0.3", "10.0.0.1-10.0.0.2"]}));
    mutate(&mut subnet);
    assert_eq!(
        (subnet.spec.ip_version, &subnet.spec.ips[..]),
        (Some(4), &["10.0.0.1-10.0.0.3".to_owned()][..])
    );
    assert_eq!(subnet.metadata.finalizers, [FINALIZER]);
    assert_eq!(subnet.metadata.label(label::SUBNET_CIDR), Some("10-0-0-0-24"));
}

#[test]
fn every_rule_of_a_new_subnet_names_its_field() {
    for (more, wanted) in [
        (json!({"ipVersion": 5}), "spec.ipVersion"),
        (json!({"subnet": "10.0.0.1/24"}), "spec.subnet"),
        (json!({"ips": ["10.0.1.1"]}), "spec.ips[0]"),
        (json!({"ips": ["10.0.0.1-10.0.0.9", "10.0.0.9"]}), "spec.ips[1]"),
        (json!({"excludeIPs": ["10.0.1.1"]}), "spec.excludeIPs[0]"),
        (json!({"gateway": "10.0.1.1"}), "spec.gateway"),
        (json!({"gateway": "10.0.0.10"}), "spec.gateway"),
        (json!({"routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]}), "spec.routes[0].dst"),
    ] {
        assert_eq!(fields(create(&of(more.clone()), &[], &[])), [wanted], "{more}");
    }
    assert_eq!(create(&of(json!({"gateway": "10.0.0.1"})), &[], &[]), Ok(()));
}

#[test]
fn subnets_do_not_overlap_not_even_with_the_same_prefix() {
    let mut other = of(json!({}));
    assert_eq!(create(&of(json!({})), &[], std::slice::from_ref(&other)), Err(Denial::AlreadyExists));
    other.metadata.name = "other".to_owned();
    assert_eq!(fields(create(&of(json!({})), &[], std::slice::from_ref(&other))), ["spec.subnet"]);
    other.spec.subnet = "10.1.0.0/24".to_owned();
    assert_eq!(create(&of(json!({})), &[], &[other]), Ok(()));
}

#[test]
fn pools_that_are_there_fit_a_new_subnet() {
    for (spec, wanted) in [
        (json!({"subnet": "10.0.0.0/16"}), vec!["spec.subnet"]),
        (json!({"subnet": "10.0.0.0/24", "ips": ["10.0.0.9-10.0.0.12"]}), vec!["spec.ips"]),
        (json!({"subnet": "10.0.0.0/24", "ips": ["10.0.0.9-10.0.0.12"], "excludeIPs": ["10.0.0.9"]}), vec![]),
        (json!({"subnet": "fd00::/16"}), vec![]),
    ] {
        assert_eq!(fields(create(&of(json!({})), &[pool(spec.clone())], &[])), wanted, "{spec}");
    }
}

#[test]
fn a_changed_subnet_keeps_its_prefix_and_what_it_has_given() {
    let old = of(json!({}));
    assert_eq!(
        fields(validate_update(&old, &of(json!({"subnet": "10.1.0.0/24", "ips": []})), RULES)),
        ["spec.subnet"]
    );
    let with = |ips: Value| {
        let mut new = of(json!({"ips": ips}));
        let entry = ControlledPool { ips: vec!["10.0.0.10-10.0.0.12".to_owned()], application: None };
        new.status.get_or_insert_default().set_controlled_pools(&[("p".to_owned(), entry)].into());
        validate_update(&old, &new, RULES)
    };
    assert_eq!(with(json!(["10.0.0.1-10.0.0.12"])), Ok(()));
    assert_eq!(fields(with(json!(["10.0.0.11-10.0.0.12"]))), ["spec.ips"]);
}

#[test]
fn a_subnet_that_is_being_deleted_only_loses_its_finalizer() {
    let mut old = of(json!({}));
    mutate(&mut old);
    old.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    assert!(matches!(validate_update(&old, &old, RULES), Err(Denial::Forbidden(_))));
    let mut new = old.clone();
    new.metadata.finalizers.clear();
    assert_eq!(validate_update(&old, &new, RULES), Ok(()));
}

#[test]
fn subnets_in_use_can_be_protected_from_deletion() {
    let mut subnet = of(json!({}));
    subnet.status = Some(serde_json::from_value(json!({"allocatedIPCount": 1})).unwrap());
    assert_eq!(validate_delete(&subnet, RULES), Ok(()));
    assert!(validate_delete(&subnet, Rules { protect_in_use: true, ..RULES }).is_err());
}
