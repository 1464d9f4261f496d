use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn config(spec: Value) -> SpiderMultusConfig {
    SpiderMultusConfig::new("net", serde_json::from_value(spec).unwrap())
}

fn text_of(spec: Value) -> String {
    generate(&config(spec)).unwrap().config.unwrap()
}

/// The example of the contract, to the byte.
#[test]
fn the_full_example_of_the_contract() {
    let mut object = config(json!({
        "cniType": "macvlan",
        "macvlan": {"master": ["ens9"], "vlanID": 100, "ippools": {"ipv4": ["blue-v4"]}},
        "chainCNIJsonData": ["{\"type\":\"tuning\",\"sysctl\":{\"net.core.somaxconn\":\"500\"}}"],
    }));
    object.metadata.name = "mv100".to_owned();
    let wanted = r#"{"cniVersion":"0.3.1","name":"mv100","plugins":[{"vlanID":100,"type":"ifacer","interfaces":["ens9"]},{"type":"macvlan","master":"ens9.100","mode":"bridge","mtu":0,"ipam":{"type":"spiderpool","default_ipv4_ippool":["blue-v4"]}},{"type":"tuning","sysctl":{"net.core.somaxconn":"500"}},{"tunePodRoutes":true,"mode":"auto","type":"coordinator"}]}"#;
    assert_eq!(generate(&object).unwrap().config.as_deref(), Some(wanted));
}

/// Every case of `golden/nad/`: a spec, and below `---` the text, one plugin a line.
#[test]
fn every_type_and_option_as_recorded() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/nad");
    let mut cases = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let case = std::fs::read_to_string(&path).unwrap();
        let (spec, wanted) = case.split_once("\n---\n").unwrap();
        let wanted: String = wanted.lines().map(str::trim).collect();
        assert_eq!(text_of(serde_json::from_str(spec).unwrap()), wanted, "{}", path.display());
        cases += 1;
    }
    assert!(cases >= 16, "only {cases} cases in {}", directory.display());
}

#[test]
fn custom_is_the_text_verbatim_and_an_empty_one_is_no_config() {
    let text = "{ \"type\": \"calico\",\n \"x\": 1 }";
    assert_eq!(text_of(json!({"customCNI": text})), text);
    assert_eq!(generate(&config(json!({}))).unwrap().config, None);
    assert_eq!(generate(&config(json!({"cniType": "custom", "customCNI": ""}))).unwrap().config, None);
}

#[test]
fn annotations_name_the_nad_its_version_and_its_network() {
    let mut object =
        config(json!({"cniType": "ipoib", "ipoib": {"master": "ib0"}, "enableCoordinator": false}));
    let given = [
        (annotation::CR_NAME, "k8s-pod-network"),
        (annotation::CNI_VERSION, "1.0.0"),
        (annotation::CNICONFIG_NAME, "inner"),
        ("example.com/own", "kept"),
    ];
    object.metadata.annotations = given.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let nad = generate(&object).unwrap();
    assert_eq!((nad.name.as_str(), &nad.annotations), ("k8s-pod-network", &object.metadata.annotations));
    assert!(
        nad.config.unwrap().starts_with(r#"{"cniVersion":"1.0.0","name":"inner","plugins":[{"type":"ipoib""#)
    );
}

#[test]
fn resources_become_an_annotation_of_the_nad() {
    let of =
        |spec: Value| generate(&config(spec)).unwrap().annotations.remove(crate::annotation::RESOURCE_NAME);
    assert_eq!(of(json!({"cniType": "sriov", "sriov": {"resourceName": "v/vf"}})).as_deref(), Some("v/vf"));
    assert_eq!(
        of(json!({"cniType": "ib-sriov", "ibsriov": {"resourceName": "v/ib"}})).as_deref(),
        Some("v/ib")
    );
    let ovs = json!({"cniType": "ovs", "ovs": {"bridge": "br1", "deviceID": "0000:00:01.0"}});
    assert_eq!(of(ovs).as_deref(), Some("ovs-cni.network.kubevirt.io/br1"));
    assert_eq!(of(json!({"cniType": "ovs", "ovs": {"bridge": "br1"}})), None);
    assert_eq!(of(json!({"cniType": "macvlan", "macvlan": {"master": ["a"]}})), None);
}

#[test]
fn an_object_that_no_webhook_has_seen_gives_the_same_nad() {
    let raw = config(json!({"cniType": "sriov", "sriov": {"resourceName": "r"}}));
    let mut seen = raw.clone();
    rules::mutate(&mut seen);
    assert_eq!(generate(&raw), generate(&seen));
}

#[test]
fn what_breaks_a_rule_makes_no_nad() {
    let error = generate(&config(json!({"cniType": "macvlan"}))).unwrap_err();
    assert!(error.message("SpiderMultusConfig", "x", "net").contains("spec.macvlan: Required value"));
}

#[test]
fn chained_texts_lose_their_blanks_and_nothing_else() {
    assert_eq!(compact("{ \"a b\" :\n\t[ 1, \"\\\" x\\\\\" , 2 ] }"), r#"{"a b":[1,"\" x\\",2]}"#);
}
