//! The delegate's configuration (spec/flannel.md 13, ADD 2 and 3). Pure.

use std::path::PathBuf;

use polynic_cni::json::{get_ci, remove_ci};
use polynic_cni::{Error, GoMap, JsonMap, PluginConf};
use polynic_flannel::{DEFAULT_PATH, SubnetFile};
use serde_json::{Value, json};

/// Where notes of delegates are unless the configuration says otherwise.
const DATA_DIR: &str = "/var/lib/cni/flannel";

/// What a user wrote.
#[derive(Debug, PartialEq)]
pub(super) struct Config {
    /// Where the daemon tells the subnet.
    pub(super) subnet_file: PathBuf,
    /// Where notes of delegates are.
    pub(super) data_dir: PathBuf,
    delegate: JsonMap,
    ipam: JsonMap,
}

/// The directory of notes; DEL needs nothing else of the configuration.
pub(super) fn data_dir(conf: &PluginConf) -> PathBuf {
    path(conf, "dataDir", DATA_DIR).unwrap_or_else(|_| DATA_DIR.into())
}

fn path(conf: &PluginConf, key: &str, default: &str) -> Result<PathBuf, Error> {
    let text = conf.keys().string(key).map_err(|why| invalid(&why.to_string()))?;
    Ok(if text.is_empty() { default.into() } else { text.into() })
}

fn invalid(why: &str) -> Error {
    Error::internal(format!("failed to load netconf: {why}"))
}

impl Config {
    /// Reads and checks what a user may write.
    ///
    /// # Errors
    /// A wrong type, `delegate.name`, `delegate.ipam`, or a `delegate.type` that is no text.
    pub(super) fn read(conf: &PluginConf) -> Result<Self, Error> {
        let object = |key| {
            let found = conf.keys().object(key).map_err(|why| invalid(&why.to_string()))?;
            Ok::<_, Error>(found.cloned().unwrap_or_default())
        };
        let delegate = object("delegate")?;
        for key in ["name", "ipam"] {
            if get_ci(&delegate, key).is_some() {
                return Err(Error::internal(format!(
                    "'delegate' dictionary must not have '{key}' field, it'll be set by flannel"
                )));
            }
        }
        if get_ci(&delegate, "type").is_some_and(|value| !value.is_string()) {
            return Err(Error::internal(
                "'delegate' dictionary, if present, must have (string) 'type' field",
            ));
        }
        Ok(Self {
            subnet_file: path(conf, "subnetFile", DEFAULT_PATH)?,
            data_dir: path(conf, "dataDir", DATA_DIR)?,
            delegate,
            ipam: object("ipam")?,
        })
    }

    /// The delegate's configuration; `with_runtime_config` for ADD, which alone has one.
    pub(super) fn delegate(
        &self,
        conf: &PluginConf,
        subnet: &SubnetFile,
        with_runtime_config: bool,
    ) -> JsonMap {
        let mut delegate = self.delegate.clone();
        delegate.insert("name".to_owned(), json!(conf.name));
        or_set(&mut delegate, "type", json!("bridge"));
        or_set(&mut delegate, "ipMasq", json!(!subnet.masquerade));
        or_set(&mut delegate, "mtu", json!(subnet.mtu));
        if GoMap(&delegate).string("type") == Ok("bridge") {
            or_set(&mut delegate, "isGateway", json!(true));
        }
        let version = conf.keys().string("cniVersion").unwrap_or_default();
        if !version.is_empty() {
            set(&mut delegate, "cniVersion", json!(version));
        }
        let runtime = conf.keys().get("runtimeConfig").filter(|_| with_runtime_config);
        if let Some(runtime) = runtime {
            set(&mut delegate, "runtimeConfig", runtime.clone());
        }
        delegate.insert("ipam".to_owned(), Value::Object(self.ipam_of(subnet)));
        delegate
    }

    fn ipam_of(&self, subnet: &SubnetFile) -> JsonMap {
        let mut ipam = self.ipam.clone();
        or_set(&mut ipam, "type", json!("host-local"));
        let ranges: Vec<Value> = subnet.subnets.iter().map(|(_, net)| json!([{"subnet": net}])).collect();
        set(&mut ipam, "ranges", json!(ranges));
        let mut routes = get_ci(&ipam, "routes").and_then(Value::as_array).cloned().unwrap_or_default();
        routes.extend(subnet.networks.iter().map(|net| json!({"dst": net})));
        set(&mut ipam, "routes", json!(routes));
        ipam
    }
}

fn or_set(map: &mut JsonMap, key: &str, value: Value) {
    if get_ci(map, key).is_none() {
        set(map, key, value);
    }
}

/// Sets a key, whatever its spelling was before.
fn set(map: &mut JsonMap, key: &str, value: Value) {
    remove_ci(map, key);
    map.insert(key.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn conf(value: Value) -> PluginConf {
        PluginConf::parse(value.to_string().as_bytes()).unwrap()
    }

    fn merged(value: Value, subnet: &str) -> Value {
        let conf = conf(value);
        let subnet = SubnetFile::parse(Path::new("/x"), subnet).unwrap();
        Value::Object(Config::read(&conf).unwrap().delegate(&conf, &subnet, true))
    }

    const GUIDE: &str = "FLANNEL_NETWORK=10.233.0.0/16\nFLANNEL_SUBNET=10.233.66.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    const DUAL: &str = "FLANNEL_NETWORK=10.60.0.0/16\nFLANNEL_SUBNET=10.60.9.1/24\nFLANNEL_IPV6_NETWORK=fd60::/48\n\
                        FLANNEL_IPV6_SUBNET=fd60:0:0:9::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n";

    #[test]
    fn the_guides_delegate_to_the_letter() {
        let nad = json!({"cniVersion": "0.3.0", "name": "flannel", "type": "flannel",
            "delegate": {"hairpinMode": true, "isDefaultGateway": false}});
        let expected = json!({"name": "flannel", "type": "bridge", "cniVersion": "0.3.0", "hairpinMode": true,
            "isDefaultGateway": false, "isGateway": true, "ipMasq": false, "mtu": 1450,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.233.66.0/24"}]],
                     "routes": [{"dst": "10.233.0.0/16"}]}});
        assert_eq!(merged(nad, GUIDE), expected);
    }

    #[test]
    fn what_the_user_wrote_stays_except_ranges_and_routes_grow() {
        let nad = json!({"cniVersion": "1.0.0", "name": "n", "type": "flannel", "runtimeConfig": {"mac": "x"},
            "delegate": {"type": "macvlan", "MTU": 900, "ipMasq": true},
            "ipam": {"type": "spiderpool", "Ranges": [1], "routes": [{"dst": "192.0.2.0/24"}], "x": 1}});
        let delegate = merged(nad, DUAL);
        assert_eq!(
            (&delegate["MTU"], &delegate["mtu"], &delegate["isGateway"]),
            (&json!(900), &Value::Null, &Value::Null)
        );
        assert_eq!((&delegate["ipMasq"], &delegate["runtimeConfig"]["mac"]), (&json!(true), &json!("x")));
        let ipam = json!({"type": "spiderpool", "x": 1,
            "ranges": [[{"subnet": "10.60.9.0/24"}], [{"subnet": "fd60:0:0:9::/64"}]],
            "routes": [{"dst": "192.0.2.0/24"}, {"dst": "10.60.0.0/16"}, {"dst": "fd60::/48"}]});
        assert_eq!(delegate["ipam"], ipam);
    }

    #[test]
    fn masquerading_is_the_delegates_where_it_is_not_the_daemons() {
        let delegate = merged(json!({"name": "n", "type": "flannel"}), DUAL);
        assert_eq!((&delegate["ipMasq"], delegate.get("cniVersion")), (&json!(true), None));
    }

    #[test]
    fn a_delegate_may_not_bring_its_name_or_ipam() {
        for (delegate, words) in [
            (json!({"name": "x"}), "'name'"),
            (json!({"IPAM": {}}), "'ipam'"),
            (json!({"type": 5}), "'type'"),
            (json!([]), "delegate"),
        ] {
            let conf = conf(json!({"name": "n", "type": "flannel", "delegate": delegate}));
            assert!(Config::read(&conf).unwrap_err().msg.contains(words), "{words}");
        }
    }
}
