//! What one delegate gets beside its configuration: interface name, `CNI_ARGS`, capability values (spec/multus.md 7).

use polynic_cni::{Invocation, JsonMap, RuntimeConf};
use serde::Serialize;
use serde_json::Value;

use crate::config::RuntimeConfig;
use crate::delegate_conf::{DelegateConf, Request};
use crate::device_files::{self, DeviceFiles};
use crate::pod_args::PodArgs;

/// What all delegates of a call have in common.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The call as the runtime made it.
    pub(crate) invocation: &'a Invocation,
    /// Its `CNI_ARGS`.
    pub(crate) args: &'a PodArgs,
    /// What the runtime supplied for capabilities.
    pub(crate) supplied: &'a RuntimeConfig,
    /// Where files about devices are.
    pub(crate) device_files: &'a DeviceFiles,
}

impl Call<'_> {
    /// For CHECK and DEL.
    pub(crate) fn conf(&self, index: usize, delegate: &DelegateConf) -> RuntimeConf {
        let nothing = Request::default();
        // The master gets what the runtime says, not what the pod asks for.
        let request = if index == 0 { &nothing } else { &delegate.request };
        let mut conf = RuntimeConf {
            container_id: self.invocation.container_id.clone(),
            netns: self.invocation.netns.clone(),
            ifname: delegate.interface_at(index, &self.invocation.ifname),
            args: self.args.for_delegates(),
            capability_args: capability_args(self.supplied, request),
        };
        if conf.capability_args.contains_key("deviceID") {
            let file = self.device_files.of_network(&delegate.display_name, &conf.container_id, &conf.ifname);
            conf.capability_args
                .insert(device_files::CAPABILITY.to_owned(), file.display().to_string().into());
        }
        conf
    }

    /// For ADD: the addresses that the pod asks for are in `CNI_ARGS` as well.
    pub(crate) fn add_conf(&self, index: usize, delegate: &DelegateConf) -> RuntimeConf {
        let mut conf = self.conf(index, delegate);
        let mut push = |key: &str, value: String| {
            if !value.is_empty() {
                conf.args.push((key.to_owned(), value));
            }
        };
        push("MAC", delegate.request.mac.clone());
        push("IP", delegate.request.ips.join(","));
        conf
    }
}

/// The runtime's values, replaced field by field by what the pod asks for.
fn capability_args(supplied: &RuntimeConfig, request: &Request) -> JsonMap {
    let mut map = JsonMap::new();
    let mut insert = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), value);
        }
    };
    insert("portMappings", list(&request.port_mappings).or_else(|| list(&supplied.port_mappings)));
    insert("bandwidth", request.bandwidth.or(supplied.bandwidth).and_then(|limits| value(&limits)));
    insert("ips", list(&request.ips).or_else(|| list(&supplied.ips)));
    insert("mac", text(&request.mac, &supplied.mac));
    insert("infinibandGUID", text(&request.infiniband_guid, &supplied.infiniband_guid));
    insert("deviceID", text(&request.device_id, &supplied.device_id));
    insert(device_files::CAPABILITY, text("", &supplied.device_info_file));
    map
}

/// The capabilities that the pod asks for and no plugin of the network declares.
pub(crate) fn missing_capabilities(delegate: &DelegateConf) -> Vec<&'static str> {
    let request = &delegate.request;
    let asked = [
        ("portMappings", !request.port_mappings.is_empty()),
        ("bandwidth", request.bandwidth.is_some()),
        ("ips", !request.ips.is_empty()),
        ("mac", !request.mac.is_empty()),
        ("infinibandGUID", !request.infiniband_guid.is_empty()),
    ];
    let declared = |key: &str| {
        delegate.list.plugins.iter().any(|plugin| plugin.capabilities.get(key).is_some_and(|on| *on))
    };
    asked.into_iter().filter(|(key, asked)| *asked && !declared(key)).map(|(key, _)| key).collect()
}

fn list<T: Serialize>(items: &[T]) -> Option<Value> {
    if items.is_empty() { None } else { value(&items) }
}

fn text(first: &str, second: &str) -> Option<Value> {
    let text = if first.is_empty() { second } else { first };
    if text.is_empty() { None } else { Some(Value::String(text.to_owned())) }
}

/// Our own plain types always serialise.
fn value<T: Serialize>(value: &T) -> Option<Value> {
    serde_json::to_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_api::Bandwidth;
    use serde_json::json;

    fn delegate(conf: Value, request: Request) -> DelegateConf {
        DelegateConf { request, ..DelegateConf::inline(conf.as_object().unwrap()).unwrap() }
    }

    fn asking() -> Request {
        Request {
            mac: "02:00:00:00:00:01".into(),
            ips: vec!["10.0.0.1".into(), "fd00::1".into()],
            ..Request::default()
        }
    }

    fn conf(index: usize, add: bool) -> RuntimeConf {
        let delegate = delegate(json!({"type": "t", "name": "n"}), asking());
        let invocation = Invocation { ifname: "eth0".into(), ..Invocation::default() };
        let supplied = RuntimeConfig {
            mac: "02:00:00:00:00:99".into(),
            bandwidth: Some(Bandwidth { ingress_rate: 5, ..Bandwidth::default() }),
            ..RuntimeConfig::default()
        };
        let args = PodArgs::default();
        let files = DeviceFiles::default();
        let call = Call { invocation: &invocation, args: &args, supplied: &supplied, device_files: &files };
        if add { call.add_conf(index, &delegate) } else { call.conf(index, &delegate) }
    }

    #[test]
    fn secondaries_get_what_the_pod_asks_for_over_what_the_runtime_says() {
        let limits = json!({"ingressRate": 5, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0});
        let wanted = json!({"bandwidth": limits, "mac": "02:00:00:00:00:01", "ips": ["10.0.0.1", "fd00::1"]});
        assert_eq!(Value::Object(conf(1, true).capability_args), wanted);
        assert_eq!(conf(1, true).ifname, "net1");
    }

    #[test]
    fn the_master_gets_what_the_runtime_says_but_the_args_of_the_pod() {
        let master = conf(0, true);
        assert_eq!(master.capability_args.get("mac"), Some(&json!("02:00:00:00:00:99")));
        assert_eq!(master.ifname, "eth0");
        let args = polynic_cni::args::join(&master.args);
        assert!(args.ends_with(";MAC=02:00:00:00:00:01;IP=10.0.0.1,fd00::1"), "{args}");
    }

    #[test]
    fn only_add_repeats_the_addresses_in_the_args() {
        assert!(!polynic_cni::args::join(&conf(1, false).args).contains("MAC="));
    }

    #[test]
    fn a_capability_is_missing_if_no_plugin_declares_it() {
        let plugins = json!([{"type": "a", "capabilities": {"ips": true, "mac": false}}, {"type": "b"}]);
        let delegate = delegate(json!({"name": "n", "plugins": plugins}), asking());
        assert_eq!(missing_capabilities(&delegate), ["mac"]);
    }
}
