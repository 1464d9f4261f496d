//! The SpiderMultusConfig of the default network: what the node's first CNI configuration says.
//!
//! It gets the type of that configuration where a SpiderMultusConfig can say all that stands there, so that the NAD attaches pods as the
//! file does. Otherwise it is `custom` without a text: then Multus reads the file itself. A virtual function's configuration is always of
//! that kind, because no file names the device resource.

use std::path::PathBuf;

use polynic_api::spider::multus_config::{IpoibConfig, IppoolNames, MasterConfig, MultusConfig, cni_type};
use polynic_api::spider::nad::generate;
use polynic_api::spider::{MultusConfigSpec, SpiderMultusConfig, annotation};
use polynic_cluster::spider::Stored;
use serde_json::{Value, json};

use crate::coordinator::first;

/// Where the default network's SpiderMultusConfig comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultNetwork {
    /// The node's CNI configurations.
    pub directory: PathBuf,
    /// The name, if it is given.
    pub name: String,
    /// The namespace.
    pub namespace: String,
}

impl DefaultNetwork {
    /// The SpiderMultusConfig: that of the given name, or of the node's first configuration, or `default`.
    pub fn config(&self) -> Stored<MultusConfig> {
        if !self.name.is_empty() {
            return self.named(&self.name, custom());
        }
        let conf = first(&self.directory).unwrap_or_else(|why| {
            tracing::warn!(why, "the default network is not known by its configuration");
            None
        });
        let name = conf.as_ref().and_then(|conf| conf["name"].as_str()).filter(|name| !name.is_empty());
        let spec = conf.as_ref().and_then(typed).unwrap_or_else(custom);
        self.named(name.unwrap_or("default"), spec)
    }

    fn named(&self, name: &str, spec: MultusConfigSpec) -> Stored<MultusConfig> {
        // The name of Calico's network is not that of its object elsewhere.
        let object_name = if name == "k8s-pod-network" { "calico" } else { name };
        let mut config = Stored::<MultusConfig>::new(object_name, spec);
        config.metadata.namespace = Some(self.namespace.clone());
        if object_name != name {
            config.metadata.annotations = Some([(annotation::CR_NAME.to_owned(), name.to_owned())].into());
        }
        config
    }
}

fn custom() -> MultusConfigSpec {
    MultusConfigSpec {
        cni_type: Some(cni_type::CUSTOM.to_owned()),
        enable_coordinator: Some(false),
        ..MultusConfigSpec::default()
    }
}

/// A configuration in the words of its type; `None` if something of it cannot be said in them.
fn typed(conf: &Value) -> Option<MultusConfigSpec> {
    let plugins = plugins(conf)?;
    let spec = spec_of(&plugins)?;
    let generated = generate(&SpiderMultusConfig::new("x", spec.clone())).ok()?.config?;
    let generated: Value = serde_json::from_str(&generated).ok()?;
    (generated["plugins"] == Value::Array(with_defaults(plugins))).then_some(spec)
}

/// The chain of a list, or of a configuration that is a single plugin.
fn plugins(conf: &Value) -> Option<Vec<Value>> {
    if let Some(plugins) = conf["plugins"].as_array() {
        return Some(plugins.clone());
    }
    let mut only = conf.as_object()?.clone();
    only.retain(|key, _| !["cniVersion", "name"].contains(&key.as_str()));
    Some(vec![Value::Object(only)])
}

fn spec_of(plugins: &[Value]) -> Option<MultusConfigSpec> {
    let (main, chained) = plugins.split_first()?;
    let kind = main["type"].as_str()?;
    let master = main["master"].as_str()?.to_owned();
    let names = |key: &str| -> Vec<String> {
        let list = main["ipam"][key].as_array().into_iter().flatten();
        list.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let ippools = Some(IppoolNames {
        ipv4: names("default_ipv4_ippool"),
        ipv6: names("default_ipv6_ippool"),
        ..IppoolNames::default()
    });
    let mut spec = MultusConfigSpec {
        cni_type: Some(kind.to_owned()),
        enable_coordinator: Some(false),
        disable_ipam: main.get("ipam").is_none().then_some(true),
        chain_cni_json_data: Some(chained.iter().map(Value::to_string).collect()),
        ..MultusConfigSpec::default()
    };
    let child = |master| MasterConfig {
        master: vec![master],
        mtu: main["mtu"].as_i64(),
        ippools: ippools.clone(),
        ..MasterConfig::default()
    };
    match kind {
        cni_type::MACVLAN => spec.macvlan = Some(child(master)),
        cni_type::IPVLAN => spec.ipvlan = Some(child(master)),
        cni_type::IPOIB => spec.ipoib = Some(IpoibConfig { master: Some(master), ippools }),
        _ => return None,
    }
    Some(spec)
}

/// What a NAD says of the main plugin although it goes without saying.
fn with_defaults(mut plugins: Vec<Value>) -> Vec<Value> {
    let main = plugins.first_mut().and_then(Value::as_object_mut);
    let Some(main) = main else { return plugins };
    let kind = main.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == cni_type::MACVLAN {
        main.entry("mode").or_insert(json!("bridge"));
    }
    if kind == cni_type::IPVLAN && main.get("mode") == Some(&json!("l2")) {
        main.remove("mode");
    }
    if kind != cni_type::IPOIB {
        main.entry("mtu").or_insert(json!(0));
    }
    plugins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(directory: &std::path::Path, name: &str) -> DefaultNetwork {
        DefaultNetwork {
            directory: directory.to_owned(),
            name: name.to_owned(),
            namespace: "kube-system".to_owned(),
        }
    }

    fn of(conf: Value) -> Stored<MultusConfig> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("10-x.conflist"), conf.to_string()).unwrap();
        network(directory.path(), "").config()
    }

    #[test]
    fn the_default_network_is_named_by_the_node() {
        let directory = tempfile::tempdir().unwrap();
        let network = |name: &str| network(directory.path(), name);
        assert_eq!(network("").config().metadata.name.as_deref(), Some("default"));
        std::fs::write(
            directory.path().join("10-calico.conflist"),
            r#"{"name":"k8s-pod-network","plugins":[{"type":"calico"}]}"#,
        )
        .unwrap();
        let config = network("").config();
        assert_eq!(config.metadata.name.as_deref(), Some("calico"));
        assert_eq!(config.metadata.annotations.unwrap()[annotation::CR_NAME], "k8s-pod-network");
        assert_eq!(config.spec.cni_type(), "custom");
        let given = network("macvlan-conf").config();
        assert_eq!(
            (given.metadata.name.as_deref(), given.metadata.annotations, given.spec.cni_type()),
            (Some("macvlan-conf"), None, "custom")
        );
    }

    #[test]
    fn what_can_be_said_in_its_own_words_is() {
        let ipam =
            json!({"type": "spiderpool", "default_ipv4_ippool": ["v4"], "default_ipv6_ippool": ["v6"]});
        let macvlan = json!({"type": "macvlan", "master": "ens9", "mtu": 1400, "ipam": ipam});
        let tuning = json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}});
        let config = of(json!({"cniVersion": "0.3.1", "name": "under", "plugins": [macvlan, tuning]}));
        assert_eq!((config.metadata.name.as_deref(), config.spec.cni_type()), (Some("under"), "macvlan"));
        let (spec, own) = (&config.spec, config.spec.macvlan.as_ref().unwrap());
        assert_eq!((own.master.as_slice(), own.mtu), (&["ens9".to_owned()][..], Some(1400)));
        assert_eq!(own.ippools.as_ref().unwrap().ipv6, ["v6"]);
        assert_eq!(
            (spec.enable_coordinator, spec.chain_cni_json_data.as_ref().unwrap().len()),
            (Some(false), 1)
        );
        let single = json!({"cniVersion": "0.3.1", "name": "under", "type": "ipvlan", "mode": "l2", "master": "ens9", "ipam": ipam});
        assert_eq!(of(single).spec.cni_type(), "ipvlan");
        let ipoib = of(json!({"name": "ib", "type": "ipoib", "master": "ib0"}));
        assert_eq!((ipoib.spec.cni_type(), ipoib.spec.disable_ipam), ("ipoib", Some(true)));
    }

    #[test]
    fn what_would_attach_pods_in_another_way_is_left_to_the_file() {
        let spider = json!({"type": "spiderpool"});
        for conf in [
            json!({"name": "a", "type": "macvlan", "master": "e", "ipam": {"type": "host-local", "subnet": "10.0.0.0/24"}}),
            json!({"name": "a", "type": "macvlan", "master": "e", "mode": "vepa", "ipam": spider}),
            json!({"name": "a", "type": "ipvlan", "master": "e", "mode": "l3", "ipam": spider}),
            json!({"name": "a", "type": "macvlan", "ipam": spider}),
            json!({"name": "a", "type": "macvlan", "master": "e", "ipam": {"type": "spiderpool", "log_level": "debug"}}),
            json!({"name": "a", "type": "sriov", "ipam": spider}),
            json!({"name": "a", "plugins": []}),
            json!({"name": "a"}),
        ] {
            assert_eq!(of(conf.clone()).spec, custom(), "{conf}");
        }
    }
}
