use serde_json::{Value, json};

use super::*;
use crate::meta::OwnerReference;

fn config(spec: Value) -> SpiderMultusConfig {
    let mut config = SpiderMultusConfig::new("net", serde_json::from_value(spec).unwrap());
    config.metadata.namespace = "kube-system".to_owned();
    config
}

fn completed(spec: Value) -> Value {
    let mut object = config(spec);
    mutate(&mut object);
    serde_json::to_value(&object.spec).unwrap()
}

fn annotated(spec: Value, key: &str, value: &str) -> SpiderMultusConfig {
    let mut object = config(spec);
    object.metadata.annotations.insert(key.to_owned(), value.to_owned());
    object
}

fn fields(result: Result<(), Denial>) -> Vec<String> {
    match result {
        Ok(()) => Vec::new(),
        Err(Denial::Invalid(errors)) => errors.into_iter().map(|error| error.field).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

fn coordinator(tune: bool) -> Value {
    json!({"mode": "auto", "tunePodRoutes": tune, "podRPFilter": 0, "hijackCIDR": [], "policyRoutes": [], "podMACPrefix": "",
           "podDefaultRouteNIC": "", "vethLinkAddress": ""})
}

#[test]
fn nothing_at_all_is_custom() {
    let wanted =
        json!({"cniType": "custom", "customCNI": "", "enableCoordinator": false, "chainCNIJsonData": []});
    assert_eq!(completed(json!({})), wanted);
    assert_eq!(
        completed(json!({"cniType": "custom", "coordinator": {"mode": "auto"}, "enableCoordinator": true})),
        wanted
    );
}

#[test]
fn macvlan_and_ipvlan_are_completed() {
    for cni_type in ["macvlan", "ipvlan"] {
        let given =
            json!({"cniType": cni_type, cni_type: {"master": ["a", "b"], "bond": {"name": "b0", "mode": 1}}});
        let wanted = json!({
            "cniType": cni_type,
            cni_type: {"master": ["a", "b"], "bond": {"name": "b0", "mode": 1, "options": ""}, "vlanID": 0, "mtu": 0,
                       "rdmaResourceName": "", "ippools": {}},
            "coordinator": coordinator(true), "chainCNIJsonData": [],
        });
        assert_eq!(completed(given), wanted);
    }
}

#[test]
fn vlan_gets_an_id_in_manual_mode_only() {
    let of = |given: Value| completed(json!({"cniType": "vlan", "vlan": given}))["vlan"].clone();
    let rest = |mut given: Value| {
        let map = given.as_object_mut().unwrap();
        map.extend(
            json!({"master": ["a"], "mtu": 0, "rdmaResourceName": "", "ippools": {}})
                .as_object()
                .unwrap()
                .clone(),
        );
        given
    };
    assert_eq!(of(json!({"master": ["a"]})), rest(json!({"vlanMode": "manual", "vlanID": 0})));
    assert_eq!(of(json!({"master": ["a"], "vlanMode": "auto"})), rest(json!({"vlanMode": "auto"})));
}

#[test]
fn the_others_are_completed() {
    assert_eq!(
        completed(json!({"cniType": "sriov", "sriov": {}}))["sriov"],
        json!({"resourceName": "", "vlanID": 0, "mtu": 0, "minTxRateMbps": 0, "maxTxRateMbps": 0, "rdmaIsolation": false,
               "ippools": {"matchMasterSubnet": false}})
    );
    assert_eq!(
        completed(json!({"cniType": "ib-sriov", "ibsriov": {"resourceName": "r"}}))["ibsriov"],
        json!({"resourceName": "r", "pkey": "", "linkState": "enable", "rdmaIsolation": true, "enableIbKubernetes": false, "ippools": {}})
    );
    assert_eq!(
        completed(json!({"cniType": "ipoib", "ipoib": {"master": "ib0"}}))["ipoib"],
        json!({"master": "ib0", "ippools": {}})
    );
    assert_eq!(
        completed(json!({"cniType": "ovs", "ovs": {"bridge": "br"}}))["ovs"],
        json!({"bridge": "br", "vlan": 0, "ippools": {}})
    );
}

#[test]
fn a_given_coordinator_is_completed_with_the_other_default() {
    let given = json!({"cniType": "ipoib", "ipoib": {"master": "ib0"}, "coordinator": {}});
    assert_eq!(completed(given)["coordinator"], coordinator(false));
}

#[test]
fn spellings_of_the_guides_and_of_old_releases_are_taken_over() {
    let given = json!({
        "cniType": "macvlan", "coordinator": {"tuneMode": "overlay"},
        "macvlan": {"master": ["a"], "spiderpoolConfigPools": {"IPv4IPPool": ["p4"], "IPv6IPPool": ["p6"]}},
    });
    let done = completed(given);
    assert_eq!(done["macvlan"]["ippools"], json!({"ipv4": ["p4"], "ipv6": ["p6"]}));
    assert_eq!(
        (&done["macvlan"]["spiderpoolConfigPools"], &done["coordinator"]["mode"]),
        (&Value::Null, &json!("overlay"))
    );
    let rdma = completed(json!({"cniType": "sriov", "sriov": {"enableRdma": true, "rdmaIsolation": false}}))
        ["sriov"]
        .clone();
    assert_eq!((&rdma["rdmaIsolation"], &rdma["enableRdma"]), (&json!(true), &Value::Null));
}

#[test]
fn completing_twice_changes_nothing() {
    let mut object = config(
        json!({"cniType": "macvlan", "macvlan": {"master": ["a"]}, "coordinator": {"hijackCIDR": ["10.0.0.1"]}}),
    );
    mutate(&mut object);
    let once = object.clone();
    mutate(&mut object);
    assert_eq!(object, once);
}

#[test]
fn groups_become_labels() {
    let mut object = annotated(json!({}), annotation::RDMA_RESOURCE_INJECT, "group");
    mutate(&mut object);
    assert_eq!(object.metadata.label(annotation::RDMA_RESOURCE_INJECT), Some("group"));
}

#[test]
fn every_rule_of_a_spec_names_its_field() {
    let master = |more: Value| {
        let mut config = json!({"master": ["a"]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"cniType": "macvlan", "macvlan": config})
    };
    let vlan = |config: Value| json!({"cniType": "vlan", "vlan": config});
    let ovs = |config: Value| json!({"cniType": "ovs", "ovs": config});
    for (spec, field) in [
        (json!({"cniType": "calico"}), "spec.cniType"),
        (json!({"cniType": "macvlan"}), "spec.macvlan"),
        (json!({"cniType": "custom"}), "spec.customCNI"),
        (json!({"cniType": "custom", "customCNI": "", "macvlan": {"master": ["a"]}}), "spec.macvlan"),
        (json!({"cniType": "ipoib", "ipoib": {"master": "a"}, "customCNI": ""}), "spec.customCNI"),
        (json!({"cniType": "macvlan", "macvlan": {"master": []}}), "spec.macvlan.master"),
        (json!({"cniType": "ipvlan", "ipvlan": {"master": ["a", "b"]}}), "spec.ipvlan.bond.name"),
        (master(json!({"master": ["a", "b"], "bond": {"name": "", "mode": 1}})), "spec.macvlan.bond.name"),
        (master(json!({"bond": {"name": "b", "mode": 7}})), "spec.macvlan.bond.mode"),
        (master(json!({"vlanID": 4095})), "spec.macvlan.vlanID"),
        (master(json!({"vlanID": -1})), "spec.macvlan.vlanID"),
        (master(json!({"mtu": -1})), "spec.macvlan.mtu"),
        (master(json!({"ippools": {"matchMasterSubnet": true}})), "spec.macvlan.ippools.matchMasterSubnet"),
        (vlan(json!({"master": ["a"]})), "spec.vlan.vlanID"),
        (vlan(json!({"master": ["a"], "vlanMode": "auto", "vlanID": 5})), "spec.vlan.vlanID"),
        (vlan(json!({"master": ["a"], "vlanID": 5000})), "spec.vlan.vlanID"),
        (vlan(json!({"master": ["a"], "vlanMode": "x", "vlanID": 5})), "spec.vlan.vlanMode"),
        (json!({"cniType": "sriov", "sriov": {}}), "spec.sriov.resourceName"),
        (
            json!({"cniType": "sriov", "sriov": {"resourceName": "r", "minTxRateMbps": 2, "maxTxRateMbps": 1}}),
            "spec.sriov.minTxRateMbps",
        ),
        (json!({"cniType": "ib-sriov", "ibsriov": {}}), "spec.ibsriov.resourceName"),
        (json!({"cniType": "ipoib", "ipoib": {}}), "spec.ipoib.master"),
        (ovs(json!({"bridge": ""})), "spec.ovs.bridge"),
        (ovs(json!({"bridge": "b", "vlan": 4095})), "spec.ovs.vlan"),
        (ovs(json!({"bridge": "b", "trunk": [{"id": 1}, {"id": 4095}]})), "spec.ovs.trunk[1].id"),
        (ovs(json!({"bridge": "b", "trunk": [{"minID": 9, "maxID": 3}]})), "spec.ovs.trunk[0].minID"),
        (json!({"cniType": "custom", "customCNI": "{"}), "spec.customCNI"),
        (
            json!({"cniType": "custom", "customCNI": "", "chainCNIJsonData": ["{}"]}),
            "spec.chainCNIJsonData[0]",
        ),
        (
            json!({"cniType": "custom", "customCNI": "", "chainCNIJsonData": ["{\"type\":\"t\"}", "[]"]}),
            "spec.chainCNIJsonData[1]",
        ),
        (
            json!({"cniType": "ipoib", "ipoib": {"master": "a"}, "coordinator": {"mode": "x"}}),
            "spec.coordinator.mode",
        ),
    ] {
        assert_eq!(fields(validate_create(&config(spec.clone()), None)), [field], "{spec}");
    }
}

#[test]
fn right_ones_of_every_type_pass_once_completed() {
    for spec in [
        json!({}),
        json!({"cniType": "macvlan", "macvlan": {"master": ["a"], "vlanID": 7}}),
        json!({"cniType": "ipvlan", "ipvlan": {"master": ["a", "b"], "bond": {"name": "b0", "mode": 1}}}),
        json!({"cniType": "vlan", "vlan": {"master": ["a"], "vlanID": 33}}),
        json!({"cniType": "vlan", "vlan": {"master": ["a"], "vlanMode": "auto"}}),
        json!({"cniType": "sriov", "sriov": {"resourceName": "r", "ippools": {"matchMasterSubnet": true}}}),
        json!({"cniType": "ib-sriov", "ibsriov": {"resourceName": "r"}}),
        json!({"cniType": "ipoib", "ipoib": {"master": "ib0"}}),
        json!({"cniType": "ovs", "ovs": {"bridge": "br", "trunk": [{"minID": 1, "maxID": 3}, {"id": 7}]}}),
        json!({"cniType": "custom", "customCNI": "{\"type\":\"x\"}", "chainCNIJsonData": ["{\"type\":\"tuning\"}"]}),
    ] {
        let mut object = config(spec.clone());
        mutate(&mut object);
        assert_eq!(validate_create(&object, None), Ok(()), "{spec}");
        assert_eq!(validate_update(&object, &object, None), Ok(()), "{spec}");
    }
}

#[test]
fn the_nads_name_is_a_subdomain_that_never_changes() {
    let named = |name: &str| {
        let mut object = annotated(json!({}), annotation::CR_NAME, name);
        mutate(&mut object);
        object
    };
    let mut plain = config(json!({}));
    mutate(&mut plain);
    let field = "metadata.annotations[multus.spidernet.io/cr-name]";
    assert_eq!(validate_create(&named("k8s-pod-network.v1"), None), Ok(()));
    for bad in ["", "A", "a_b", "-a", "a-", "a..b", &"a".repeat(254)] {
        assert_eq!(fields(validate_create(&named(bad), None)), [field], "{bad}");
    }
    assert_eq!(fields(validate_update(&plain, &named("a"), None)), [field]);
    assert_eq!(fields(validate_update(&named("a"), &named("b"), None)), [field]);
    assert_eq!(fields(validate_update(&named("a"), &plain, None)), [field]);
    assert_eq!(validate_update(&named("a"), &named("a"), None), Ok(()));
    assert_eq!((nad_name(&named("other")), nad_name(&plain)), ("other", "net"));
}

#[test]
fn cni_versions_are_those_of_the_contract() {
    for (version, refused) in
        [("0.3.0", 0), ("0.3.1", 0), ("0.4.0", 0), ("1.0.0", 0), ("1.1.0", 1), ("0.2.0", 1)]
    {
        let mut object = annotated(json!({}), annotation::CNI_VERSION, version);
        mutate(&mut object);
        assert_eq!(fields(validate_create(&object, None)).len(), refused, "{version}");
    }
}

#[test]
fn a_nad_of_another_is_not_taken_and_one_without_owner_is() {
    let mut object = config(json!({}));
    mutate(&mut object);
    let nad = |owner: Option<(&str, &str)>| {
        let owner_references = owner.map(|(kind, name)| OwnerReference {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..OwnerReference::default()
        });
        ObjectMeta { owner_references: owner_references.into_iter().collect(), ..ObjectMeta::default() }
    };
    assert_eq!(validate_create(&object, Some(&nad(None))), Ok(()));
    assert_eq!(validate_create(&object, Some(&nad(Some(("SpiderMultusConfig", "net"))))), Ok(()));
    assert_eq!(
        fields(validate_create(&object, Some(&nad(Some(("SpiderMultusConfig", "other")))))),
        ["metadata.name"]
    );
}

#[test]
fn injected_networks_have_a_resource_and_pools() {
    let rdma = annotation::RDMA_RESOURCE_INJECT;
    let network = annotation::NETWORK_RESOURCE_INJECT;
    let macvlan = |more: Value| {
        let mut config = json!({"master": ["a"]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"cniType": "macvlan", "macvlan": config})
    };
    let whole = macvlan(json!({"rdmaResourceName": "r", "ippools": {"ipv4": ["p"]}}));
    for (key, spec, refused) in [
        (rdma, whole.clone(), false),
        (network, whole, false),
        (rdma, macvlan(json!({"ippools": {"ipv4": ["p"]}})), true),
        (rdma, macvlan(json!({"rdmaResourceName": "r"})), true),
        (network, macvlan(json!({})), false),
        (network, macvlan(json!({"rdmaResourceName": "r"})), true),
        (rdma, json!({"cniType": "ipoib", "ipoib": {"master": "ib0", "ippools": {"ipv6": ["p"]}}}), false),
        (network, json!({"cniType": "ovs", "ovs": {"bridge": "b"}}), true),
        (network, json!({"cniType": "custom", "customCNI": ""}), true),
    ] {
        let object = annotated(spec.clone(), key, "group");
        assert_eq!(!fields(validate_create(&object, None)).is_empty(), refused, "{key} {spec}");
    }
}
