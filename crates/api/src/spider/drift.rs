//! The manifests in `crds/` against the types of this module, in both directions.
//!
//! From the schema a sample is made in which every field has a value that is not empty. It must survive reading and writing unchanged, so
//! the types know every field of the schema; and what was read must show no empty field, so the schema knows every field of the types.

use serde_json::{Map, Value, json};

use super::{CATEGORY, GROUP, Object, SpiderKind, VERSION};
use super::{coordinator, endpoint, multus_config, pool, reserved_ip, subnet};

fn manifest<K: SpiderKind>() -> Value {
    serde_saphyr::from_str(K::CRD).unwrap()
}

/// A value for a schema; `seed` makes values differ.
fn sample(schema: &Value, seed: &str) -> Value {
    match schema["type"].as_str().unwrap_or_else(|| panic!("{seed}: no type")) {
        "string" => {
            schema["enum"][0].as_str().map_or_else(|| json!(format!("text of {seed}")), |first| json!(first))
        }
        "integer" => schema["enum"][0].as_i64().map_or_else(|| json!(7), |first| json!(first)),
        "boolean" => json!(true),
        "array" => json!([sample(&schema["items"], seed)]),
        "object" => object(schema, seed),
        other => panic!("{seed}: type {other} is in no table of the contract"),
    }
}

fn object(schema: &Value, seed: &str) -> Value {
    if let Some(values) = schema["additionalProperties"].as_object() {
        return json!({"key": sample(&Value::Object(values.clone()), seed)});
    }
    let Some(properties) = schema["properties"].as_object() else { return json!({"name": "sample"}) };
    properties.iter().map(|(name, schema)| (name.clone(), sample(schema, name))).collect::<Map<_, _>>().into()
}

fn has_no_drift<K: SpiderKind>() {
    let manifest = manifest::<K>();
    let schema = &manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let written = sample(schema, K::KIND);
    let read: Object<K> = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        written,
        "{}: a field of the manifest gets lost",
        K::KIND
    );
    let shown = format!("{:?} {:?}", read.spec, read.status);
    // The block of a SpiderMultusConfig shares its type with SpiderCoordinator, which has two fields more.
    let shown = shown.replace("overlay_pod_cidr: None, service_cidr: None", "");
    let is_missing = |sign: &str| shown.replace("status: None", "").contains(sign);
    for sign in [": None", ": []", ": {}", ": \"\""] {
        assert!(!is_missing(sign), "{}: the manifest lacks a field of the type: {shown}", K::KIND);
    }
}

#[test]
fn manifests_and_types_do_not_drift() {
    has_no_drift::<pool::IPPool>();
    has_no_drift::<subnet::Subnet>();
    has_no_drift::<reserved_ip::ReservedIP>();
    has_no_drift::<endpoint::Endpoint>();
    has_no_drift::<coordinator::Coordinator>();
    assert!(coordinator::Coordinator::CRD.contains(
        "overlayPodCIDR:\n                  description: Where pods of the default network live; goes"
    ));
    has_no_drift::<multus_config::MultusConfig>();
}

fn names<K: SpiderKind>(has_status: bool) {
    let manifest = manifest::<K>();
    let spec = &manifest["spec"];
    assert_eq!(manifest["metadata"]["name"], json!(format!("{}.{GROUP}", K::PLURAL)));
    assert_eq!(spec["group"], GROUP);
    assert_eq!(spec["scope"], if K::NAMESPACED { "Namespaced" } else { "Cluster" });
    let wanted = json!({
        "kind": K::KIND, "listKind": format!("{}List", K::KIND), "plural": K::PLURAL, "singular": K::SINGULAR,
        "shortNames": [K::SHORT_NAME], "categories": [CATEGORY],
    });
    assert_eq!(spec["names"], wanted);
    let [version] = spec["versions"].as_array().unwrap().as_slice() else { panic!("one version") };
    assert_eq!(
        (&version["name"], &version["served"], &version["storage"]),
        (&json!(VERSION), &json!(true), &json!(true))
    );
    assert_eq!(
        version.get("subresources"),
        has_status.then(|| json!({"status": {}})).as_ref(),
        "{}",
        K::KIND
    );
}

#[test]
fn names_scopes_and_subresources_are_those_of_the_contract() {
    names::<pool::IPPool>(true);
    names::<subnet::Subnet>(true);
    names::<reserved_ip::ReservedIP>(false);
    names::<endpoint::Endpoint>(false);
    names::<coordinator::Coordinator>(true);
    names::<multus_config::MultusConfig>(false);
}

/// `NAME path type`, and the priority if there is one.
fn columns<K: SpiderKind>() -> Vec<String> {
    let manifest = manifest::<K>();
    let columns =
        manifest["spec"]["versions"][0]["additionalPrinterColumns"].as_array().cloned().unwrap_or_default();
    let text = |column: &Value, key: &str| column[key].as_str().unwrap().to_owned();
    let line = |column: &Value| {
        let priority = column["priority"].as_i64().map(|priority| format!(" {priority}")).unwrap_or_default();
        format!("{} {} {}{priority}", text(column, "name"), text(column, "jsonPath"), text(column, "type"))
    };
    columns.iter().map(line).collect()
}

#[test]
fn columns_are_as_documented() {
    let counts = [
        "VERSION .spec.ipVersion string",
        "SUBNET .spec.subnet string",
        "ALLOCATED-IP-COUNT .status.allocatedIPCount integer",
        "TOTAL-IP-COUNT .status.totalIPCount integer",
    ];
    assert_eq!(columns::<subnet::Subnet>(), counts);
    let of_pools = [
        "DEFAULT .spec.default boolean",
        "DISABLE .spec.disable boolean 10",
        "NodeName .spec.nodeName string 10",
        "MultusName .spec.multusName string 10",
        r"APP-NAMESPACE .spec.podAffinity.matchLabels['ipam\.spidernet\.io/app\-namespace'] string 10",
    ];
    assert_eq!(columns::<pool::IPPool>(), [&counts[..], &of_pools].concat());
    assert_eq!(columns::<reserved_ip::ReservedIP>(), ["VERSION .spec.ipVersion string"]);
    assert_eq!(
        columns::<endpoint::Endpoint>(),
        [
            "INTERFACE .status.current.ips[0].interface string",
            "IPV4POOL .status.current.ips[0].ipv4Pool string",
            "IPV4 .status.current.ips[0].ipv4 string",
            "IPV6POOL .status.current.ips[0].ipv6Pool string",
            "IPV6 .status.current.ips[0].ipv6 string",
            "NODE .status.current.node string",
        ]
    );
    assert!(
        columns::<coordinator::Coordinator>().is_empty()
            && columns::<multus_config::MultusConfig>().is_empty()
    );
}

/// Every default of a manifest, by its path below the schema.
fn defaults(schema: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(default) = schema.get("default") {
        found.push(format!("{path}={default}"));
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        defaults(schema, &format!("{path}.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        defaults(items, &format!("{path}[]"), found);
    }
}

fn defaults_of<K: SpiderKind>() -> Vec<String> {
    let mut found = Vec::new();
    defaults(&manifest::<K>()["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut found);
    found.sort();
    found
}

#[test]
fn defaults_are_those_of_the_contract() {
    assert_eq!(defaults_of::<pool::IPPool>(), [".spec.default=false", ".spec.disable=false"]);
    assert!(
        defaults_of::<subnet::Subnet>().is_empty() && defaults_of::<reserved_ip::ReservedIP>().is_empty()
    );
    assert_eq!(defaults_of::<endpoint::Endpoint>(), [".status.current.ips[].vlan=0"]);
    let coordination =
        ["hostRuleTable=500", "mode=\"auto\"", "podRPFilter=0", "tunePodRoutes=true", "txQueueLen=0"];
    let within = |path: &str| coordination.map(|default| format!("{path}.{default}")).to_vec();
    assert_eq!(defaults_of::<coordinator::Coordinator>(), within(".spec"));
    let mut wanted = within(".spec.coordinator");
    let others = [
        ".spec.cniType=\"custom\"",
        ".spec.enableCoordinator=true",
        ".spec.disableIPAM=false",
        ".spec.macvlan.mtu=0",
        ".spec.ipvlan.mtu=0",
        ".spec.vlan.mtu=0",
        ".spec.vlan.vlanMode=\"manual\"",
        ".spec.sriov.mtu=0",
        ".spec.sriov.rdmaIsolation=false",
        ".spec.ibsriov.linkState=\"enable\"",
        ".spec.ibsriov.rdmaIsolation=true",
        ".spec.ibsriov.enableIbKubernetes=false",
    ];
    wanted.extend(others.map(str::to_owned));
    let kinds = ["macvlan", "ipvlan", "vlan", "sriov", "ovs", "ibsriov", "ipoib"];
    wanted.extend(kinds.map(|kind| format!(".spec.{kind}.ippools.matchMasterSubnet=false")));
    wanted.sort();
    assert_eq!(defaults_of::<multus_config::MultusConfig>(), wanted);
}

#[test]
fn only_what_the_contract_requires_is_required() {
    fn required(schema: &Value, path: &str, found: &mut Vec<String>) {
        let names = schema["required"].as_array().into_iter().flatten();
        found.extend(names.map(|name| format!("{path}.{}", name.as_str().unwrap())));
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            required(schema, &format!("{path}.{name}"), found);
        }
        if let Some(items) = schema.get("items") {
            required(items, &format!("{path}[]"), found);
        }
    }
    let of = |crd: &str| {
        let manifest: Value = serde_saphyr::from_str(crd).unwrap();
        let mut found = Vec::new();
        required(&manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut found);
        found.retain(|path| {
            !path.ends_with("outes[].dst") && !path.ends_with("outes[].gw") && !path.contains("Affinity")
        });
        found
    };
    assert_eq!(of(pool::IPPool::CRD), [".spec.subnet"]);
    assert_eq!(of(subnet::Subnet::CRD), [".spec.subnet"]);
    assert_eq!(of(coordinator::Coordinator::CRD), [".status.phase"]);
    let endpoint = [
        ".status.current",
        ".status.ownerControllerType",
        ".status.ownerControllerName",
        ".status.current.uid",
        ".status.current.node",
        ".status.current.ips",
        ".status.current.ips[].interface",
    ];
    assert_eq!(of(endpoint::Endpoint::CRD), endpoint);
    let mut network = of(multus_config::MultusConfig::CRD);
    network.sort();
    let wanted = [
        ".spec.ipvlan.bond.mode",
        ".spec.ipvlan.bond.name",
        ".spec.ipvlan.master",
        ".spec.macvlan.bond.mode",
        ".spec.macvlan.bond.name",
        ".spec.macvlan.master",
        ".spec.ovs.bridge",
        ".spec.vlan.bond.mode",
        ".spec.vlan.bond.name",
        ".spec.vlan.master",
    ];
    assert_eq!(network, wanted);
}

#[test]
fn objects_of_old_releases_are_read_and_nothing_of_them_is_lost() {
    let pool = json!({
        "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool", "metadata": {"name": "p"},
        "spec": {"ipVersion": 4, "subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.9"], "vlan": 0, "disable": false},
        "status": {"allocatedIPs": "{\"10.6.0.1\":{\"interface\":\"eth0\",\"pod\":\"a/b\",\"podUid\":\"u\"}}",
                   "allocatedIPCount": 1, "totalIPCount": 9},
    });
    let read: pool::SpiderIPPool = serde_json::from_value(pool.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), pool);
    let nulls = json!({"metadata": {"name": "p", "annotations": null}, "spec": {"subnet": "x", "ips": null, "routes": null},
                       "status": {"allocatedIPs": null}});
    let read: pool::SpiderIPPool = serde_json::from_value(nulls).unwrap();
    assert_eq!((read.spec.routes, read.status.unwrap().allocated_ips), (None, None));
    let unknown = json!({"metadata": {}, "spec": {"subnet": "x", "someday": {"a": 1}}});
    assert!(serde_json::from_value::<pool::SpiderIPPool>(unknown).is_ok());
}
