//! Networks and resources that a pod gets by the group it names, instead of listing them (spec/spiderpool.md 3.6). Pure.
//!
//! A group is a value of one of two annotations: SpiderMultusConfigs carry it as a label, a pod or its namespace ask for it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::multus_config::nad_name;
use crate::annotation::NETWORKS;
use crate::spider::SpiderMultusConfig;
use crate::spider::annotation::{self, Annotations};
use crate::spider::multus_config::{BondConfig, MultusConfigSpec, cni_type};

/// What a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The annotation, and the label of SpiderMultusConfigs.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

impl Group {
    /// The group of a pod: its own annotation counts before that of its namespace, RDMA networks before others.
    pub fn of(pod: &Annotations, namespace: &Annotations) -> Option<Self> {
        [annotation::RDMA_RESOURCE_INJECT, annotation::NETWORK_RESOURCE_INJECT].into_iter().find_map(|key| {
            let value = pod.get(key).or_else(|| namespace.get(key))?.clone();
            Some(Self { key, value })
        })
    }

    /// The pod with the networks of the group, which replace those it lists, and one of each resource that these need.
    ///
    /// # Errors
    /// The group has no network, or one that cannot be injected.
    pub fn inject(&self, pod: &Value, configs: &[SpiderMultusConfig]) -> Result<Value, String> {
        let Self { key, value } = self;
        if configs.is_empty() {
            return Err(format!(
                "no SpiderMultusConfig has the label {key}: {value}, which the pod asks for"
            ));
        }
        let mut networks =
            configs.iter().map(|config| self.network(config)).collect::<Result<Vec<_>, _>>()?;
        networks.sort();
        let names: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
        let mut pod = pod.clone();
        // Something that is no object is refused by the API server.
        if let Some(annotations) = member(&mut pod, &["metadata", "annotations"]) {
            annotations.insert(NETWORKS.to_owned(), json!(names.join(",")));
        }
        let resources: BTreeSet<&str> =
            networks.iter().filter_map(|network| network.resource.as_deref()).collect();
        for resource in resources {
            add_resource(&mut pod, resource);
        }
        Ok(pod)
    }

    fn network(&self, config: &SpiderMultusConfig) -> Result<Network, String> {
        let name = format!("{}/{}", config.metadata.namespace, nad_name(config));
        let spec = &config.spec;
        let Some((device, resource)) = device_and_resource(spec) else {
            let own = format!("{}/{}", config.metadata.namespace, config.metadata.name);
            return Err(format!(
                "SpiderMultusConfig {own} of cniType {} cannot be injected",
                spec.cni_type()
            ));
        };
        let is_rdma = self.key == annotation::RDMA_RESOURCE_INJECT;
        if is_rdma && resource.is_none() && spec.cni_type() != cni_type::IPOIB {
            let own = format!("{}/{}", config.metadata.namespace, config.metadata.name);
            return Err(format!("SpiderMultusConfig {own} names no resource, which {} needs", self.key));
        }
        Ok(Network { device, name, resource })
    }
}

/// One network, in the order in which they are listed: by what it stands on, then by name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Network {
    device: String,
    name: String,
    resource: Option<String>,
}

/// What a network stands on, and the resource that its pods consume.
fn device_and_resource(spec: &MultusConfigSpec) -> Option<(String, Option<String>)> {
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let on_master = |masters: &[String], bond: Option<&BondConfig>, resource: &Option<String>| {
        let bond = bond.map(|bond| bond.name.clone()).filter(|_| masters.len() > 1);
        (bond.or_else(|| masters.first().cloned()).unwrap_or_default(), given(resource))
    };
    let of_resource = |resource: &Option<String>| (given(resource).unwrap_or_default(), given(resource));
    match spec.cni_type() {
        cni_type::MACVLAN => {
            spec.macvlan.as_ref().map(|c| on_master(&c.master, c.bond.as_ref(), &c.rdma_resource_name))
        }
        cni_type::IPVLAN => {
            spec.ipvlan.as_ref().map(|c| on_master(&c.master, c.bond.as_ref(), &c.rdma_resource_name))
        }
        cni_type::VLAN => {
            spec.vlan.as_ref().map(|c| on_master(&c.master, c.bond.as_ref(), &c.rdma_resource_name))
        }
        cni_type::SRIOV => spec.sriov.as_ref().map(|c| of_resource(&c.resource_name)),
        cni_type::IB_SRIOV => spec.ibsriov.as_ref().map(|c| of_resource(&c.resource_name)),
        cni_type::IPOIB => spec.ipoib.as_ref().map(|c| (c.master.clone().unwrap_or_default(), None)),
        _ => None,
    }
}

/// Adds one of a resource to the first container, unless a container has it already.
fn add_resource(pod: &mut Value, resource: &str) {
    let containers = pod.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    let Some(containers) = containers else { return };
    let has = |container: &Value| container["resources"]["limits"].get(resource).is_some();
    if containers.iter().any(has) {
        return;
    }
    if let Some(limits) = containers.first_mut().and_then(|first| member(first, &["resources", "limits"])) {
        limits.insert(resource.to_owned(), json!("1"));
    }
}

/// The object at the end of a path, made where it is missing.
fn member<'v>(value: &'v mut Value, path: &[&str]) -> Option<&'v mut Map<String, Value>> {
    let mut at = value.as_object_mut()?;
    for key in path {
        let next = at.entry((*key).to_owned()).or_insert(Value::Null);
        if next.is_null() {
            *next = json!({});
        }
        at = next.as_object_mut()?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, spec: Value) -> SpiderMultusConfig {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "nets"}, "spec": spec}))
            .unwrap()
    }

    fn macvlan(name: &str, master: &str, resource: &str) -> SpiderMultusConfig {
        config(
            name,
            json!({"cniType": "macvlan", "macvlan": {"master": [master], "rdmaResourceName": resource}}),
        )
    }

    fn group(key: &'static str) -> Group {
        Group { key, value: "g".to_owned() }
    }

    fn pod() -> Value {
        json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}})
    }

    #[test]
    fn the_pods_word_counts_before_the_namespaces_and_rdma_before_others() {
        let texts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Annotations>()
        };
        let (rdma, network) = (annotation::RDMA_RESOURCE_INJECT, annotation::NETWORK_RESOURCE_INJECT);
        let of = |pod: &[(&str, &str)], namespace: &[(&str, &str)]| {
            Group::of(&texts(pod), &texts(namespace)).map(|group| (group.key, group.value))
        };
        assert_eq!(of(&[], &[]), None);
        assert_eq!(of(&[(rdma, "a")], &[(rdma, "b")]), Some((rdma, "a".to_owned())));
        assert_eq!(of(&[(network, "a")], &[(rdma, "b")]), Some((rdma, "b".to_owned())));
        assert_eq!(of(&[(network, "a")], &[]), Some((network, "a".to_owned())));
    }

    #[test]
    fn networks_are_listed_by_what_they_stand_on_with_their_resources_once() {
        let bonded = json!({"cniType": "macvlan", "macvlan": {"master": ["x", "y"], "bond": {"name": "e0", "mode": 1}, "rdmaResourceName": "r/b"}});
        let named = {
            let mut config = macvlan("own", "e3", "r/a");
            config.metadata.annotations.insert(annotation::CR_NAME.to_owned(), "nad".to_owned());
            config
        };
        let sriov = config("vf", json!({"cniType": "sriov", "sriov": {"resourceName": "a/vf"}}));
        let configs = [named, macvlan("two", "e2", "r/a"), config("bonded", bonded), sriov];
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({NETWORKS: "lan", "x": "y"});
        pod["spec"]["containers"][1]["resources"] = json!({"limits": {"r/b": "2"}});
        let injected = group(annotation::RDMA_RESOURCE_INJECT).inject(&pod, &configs).unwrap();
        let annotations = &injected["metadata"]["annotations"];
        assert_eq!(annotations, &json!({NETWORKS: "nets/vf,nets/bonded,nets/two,nets/nad", "x": "y"}));
        let containers = &injected["spec"]["containers"];
        assert_eq!(containers[0]["resources"]["limits"], json!({"a/vf": "1", "r/a": "1"}));
        assert_eq!(containers[1]["resources"]["limits"], json!({"r/b": "2"}));
    }

    #[test]
    fn what_cannot_be_injected_is_refused_by_name() {
        let inject = |key, configs: &[SpiderMultusConfig]| group(key).inject(&pod(), configs);
        let (rdma, network) = (annotation::RDMA_RESOURCE_INJECT, annotation::NETWORK_RESOURCE_INJECT);
        assert!(inject(rdma, &[]).unwrap_err().contains("no SpiderMultusConfig has the label"));
        let ovs = config("o", json!({"cniType": "ovs", "ovs": {"bridge": "br0"}}));
        assert!(inject(network, &[ovs]).unwrap_err().contains("nets/o of cniType ovs cannot be injected"));
        let plain = [macvlan("m", "e1", "")];
        assert!(inject(rdma, &plain).unwrap_err().contains("nets/m names no resource"));
        let injected = inject(network, &plain).unwrap();
        assert_eq!(injected["metadata"]["annotations"][NETWORKS], "nets/m");
        assert_eq!(injected["spec"], pod()["spec"]);
    }
}
