//! The SpiderMultusConfig of the default network (spec/spiderpool.md 13.5): named and typed by a node's own configuration.
//!
//! It gets the configuration's type where an object of that type says exactly what the configuration says. Everything else, such as other IPAM than
//! ours or a device resource that no configuration names, stays `custom` without a text: Multus then reads each node's own file.

use std::path::PathBuf;

use polynic_api::spider::multus_config::{IpoibConfig, IppoolNames, MasterConfig, MultusConfig, cni_type};
use polynic_api::spider::nad::{DEFAULT_CNI_VERSION, generate};
use polynic_api::spider::{MultusConfigSpec, annotation};
use polynic_cluster::spider::Stored;
use serde_json::{Map, Value, json};

use crate::coordinator::first_conf;

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
            return self.custom(&self.name);
        }
        let conf = first_conf(&self.directory).ok().flatten().unwrap_or_default();
        let name = conf["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
        let custom = self.custom(name);
        typed(&conf, &custom).unwrap_or(custom)
    }

    fn custom(&self, name: &str) -> Stored<MultusConfig> {
        // The name of Calico's network is not that of its object elsewhere.
        let object_name = if name == "k8s-pod-network" { "calico" } else { name };
        let spec = MultusConfigSpec {
            cni_type: Some(cni_type::CUSTOM.to_owned()),
            enable_coordinator: Some(false),
            ..MultusConfigSpec::default()
        };
        let mut config = Stored::<MultusConfig>::new(object_name, spec);
        config.metadata.namespace = Some(self.namespace.clone());
        if object_name != name {
            annotate(&mut config, annotation::CR_NAME, name);
        }
        config
    }
}

fn annotate(config: &mut Stored<MultusConfig>, key: &str, value: &str) {
    config.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

/// The same with the configuration's type, if the NAD that comes of it has the configuration's meaning.
fn typed(conf: &Value, custom: &Stored<MultusConfig>) -> Option<Stored<MultusConfig>> {
    let mut config = custom.clone();
    let wanted = meaning(conf);
    config.spec = spec(wanted["plugins"].as_array()?)?;
    let version = conf["cniVersion"].as_str()?;
    if version != DEFAULT_CNI_VERSION {
        annotate(&mut config, annotation::CNI_VERSION, version);
    }
    let nad = generate(&config.plain()).ok()?;
    let said: Value = serde_json::from_str(&nad.config?).ok()?;
    (meaning(&said) == wanted && said["cniVersion"] == version && said["name"] == conf["name"])
        .then_some(config)
}

fn spec(plugins: &[Value]) -> Option<MultusConfigSpec> {
    let (main, chained) = plugins.split_first()?;
    let text = |key: &str| main[key].as_str().map(str::to_owned);
    let masters = || MasterConfig {
        master: text("master").into_iter().collect(),
        mtu: main["mtu"].as_i64(),
        ippools: Some(pools(&main["ipam"])),
        ..MasterConfig::default()
    };
    let mut spec = MultusConfigSpec {
        cni_type: text("type"),
        enable_coordinator: Some(false),
        disable_ipam: main["ipam"].is_null().then_some(true),
        chain_cni_json_data: Some(chained.iter().map(Value::to_string).collect()),
        ..MultusConfigSpec::default()
    };
    match spec.cni_type() {
        cni_type::MACVLAN => spec.macvlan = Some(masters()),
        cni_type::IPVLAN => spec.ipvlan = Some(masters()),
        cni_type::IPOIB => {
            let pools = Some(pools(&main["ipam"]));
            spec.ipoib = Some(IpoibConfig { master: text("master"), ippools: pools });
        }
        _ => return None,
    }
    Some(spec)
}

fn pools(ipam: &Value) -> IppoolNames {
    let names = |key: &str| {
        let names = ipam[key].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let [ipv4, ipv6] = ["default_ipv4_ippool", "default_ipv6_ippool"].map(names);
    IppoolNames { ipv4, ipv6, ..IppoolNames::default() }
}

/// Everything but version and name, as a list, and without what plugins do anyway.
fn meaning(conf: &Value) -> Value {
    let mut rest = conf.as_object().cloned().unwrap_or_default();
    rest.retain(|key, _| key != "cniVersion" && key != "name");
    let plugins = match rest.remove("plugins") {
        Some(Value::Array(plugins)) => plugins,
        _ => vec![Value::Object(std::mem::take(&mut rest))],
    };
    let plugins: Vec<Value> = plugins.into_iter().map(plain).collect();
    json!({"plugins": plugins, "rest": rest})
}

fn plain(plugin: Value) -> Value {
    let Value::Object(mut plugin) = plugin else { return plugin };
    let mode = match plugin.get("type").and_then(Value::as_str) {
        Some(cni_type::MACVLAN) => "bridge",
        Some(cni_type::IPVLAN) => "l2",
        _ => return Value::Object(plugin),
    };
    let defaults = [("mode", json!(mode)), ("mtu", json!(0)), ("ipam", json!(Map::new()))];
    plugin.retain(|key, value| !defaults.iter().any(|(known, default)| known == key && default == value));
    Value::Object(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(conf: &Value) -> Stored<MultusConfig> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("10-default.conflist"), conf.to_string()).unwrap();
        network(&directory, "").config()
    }

    fn network(directory: &tempfile::TempDir, name: &str) -> DefaultNetwork {
        DefaultNetwork {
            directory: directory.path().to_owned(),
            name: name.to_owned(),
            namespace: "kube-system".to_owned(),
        }
    }

    #[test]
    fn the_default_network_is_named_by_the_node() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(network(&directory, "").config().metadata.name.as_deref(), Some("default"));
        let conf = json!({"name": "k8s-pod-network", "plugins": [{"type": "calico"}]});
        std::fs::write(directory.path().join("10-calico.conflist"), conf.to_string()).unwrap();
        let config = network(&directory, "").config();
        assert_eq!(config.metadata.name.as_deref(), Some("calico"));
        assert_eq!(config.metadata.annotations.unwrap()[annotation::CR_NAME], "k8s-pod-network");
        assert_eq!(config.spec.cni_type(), "custom");
        let given = network(&directory, "macvlan-conf").config();
        assert_eq!(
            (given.metadata.name.as_deref(), given.metadata.annotations),
            (Some("macvlan-conf"), None)
        );
    }

    #[test]
    fn a_configuration_that_an_object_can_express_gives_it_its_type() {
        let ipam =
            json!({"type": "spiderpool", "default_ipv4_ippool": ["v4"], "default_ipv6_ippool": ["v6"]});
        let plugins = json!([{"type": "macvlan", "master": "eth0", "mtu": 1400, "ipam": ipam},
                             {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}]);
        let config = of(&json!({"cniVersion": "0.4.0", "name": "lan", "plugins": plugins}));
        assert_eq!((config.metadata.name.as_deref(), config.spec.cni_type()), (Some("lan"), "macvlan"));
        assert_eq!(config.metadata.annotations.as_ref().unwrap()[annotation::CNI_VERSION], "0.4.0");
        assert_eq!((config.spec.enable_coordinator, config.spec.disable_ipam), (Some(false), None));
        let macvlan = config.spec.macvlan.unwrap();
        let pools = macvlan.ippools.unwrap();
        assert_eq!((macvlan.master, macvlan.mtu), (vec!["eth0".to_owned()], Some(1400)));
        assert_eq!((pools.ipv4, pools.ipv6), (vec!["v4".to_owned()], vec!["v6".to_owned()]));
        assert_eq!(config.spec.chain_cni_json_data.unwrap().len(), 1);

        let single =
            json!({"cniVersion": "0.3.1", "name": "l2", "type": "ipvlan", "master": "eth1", "mode": "l2"});
        let config = of(&single);
        assert_eq!((config.spec.cni_type(), config.spec.disable_ipam), ("ipvlan", Some(true)));
        assert_eq!(config.metadata.annotations, None);
        let ib = json!({"cniVersion": "0.3.1", "name": "ib", "type": "ipoib", "master": "ib0", "ipam": {"type": "spiderpool"}});
        assert_eq!(of(&ib).spec.ipoib.unwrap().master.as_deref(), Some("ib0"));
    }

    #[test]
    fn a_configuration_that_says_more_stays_the_nodes_own() {
        let main = json!({"cniVersion": "0.3.1", "name": "lan", "type": "macvlan", "master": "eth0"});
        assert_eq!(of(&main).spec.cni_type(), "macvlan");
        for (key, more) in [
            ("ipam", json!({"type": "host-local", "subnet": "10.0.0.0/24"})),
            ("mode", json!("private")),
            ("linkInContainer", json!(true)),
            ("cniVersion", json!("1.1.0")),
            ("type", json!("sriov")),
            ("master", json!(null)),
        ] {
            let mut conf = main.clone();
            conf[key] = more;
            assert_eq!(of(&conf).spec.cni_type(), "custom", "{conf}");
        }
    }
}
