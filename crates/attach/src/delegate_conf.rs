//! A delegate: one CNI configuration or list to execute for the pod, and what the pod asked of it (spec/multus.md 5).

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use polynic_api::{Bandwidth, PortMapping, SelectionElement};
use polynic_cni::conflist::{self, LoadError};
use polynic_cni::json::{self, GoMap, JsonError};
use polynic_cni::{ConfList, JsonMap};
use polynic_net::Route;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A network to attach a pod to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DelegateConf {
    /// What is executed. Its `bytes` are the JSON that goes into the caches: a single configuration if it came as one.
    pub list: ConfList,
    /// It came as a list, not as a single configuration.
    pub is_list: bool,
    /// What status rows and Events call it: `namespace/name` of a NAD, else the CNI name.
    pub display_name: String,
    /// What the pod asked for.
    pub request: Request,
    /// Default routes that it must not keep.
    pub filter: Filter,
    /// The resource of which it wants a device, or empty.
    pub resource_name: String,
    /// The device in `request` is one of that resource, which the pod was given.
    pub has_allocated_device: bool,
    /// It is the auxiliary chain, which takes no part in default routes.
    pub is_auxiliary: bool,
    /// Why the pod has it; unknown if another program attached it.
    pub origin: Option<Origin>,
    /// Default routes that its interface had and gave up, because another delegate supplies the pod's. They come back when that one goes.
    pub given_up: Vec<Route>,
}

/// Why a pod has a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The node's configuration gives it to pods: the annotation does not rule it, and neither does a later configuration.
    Configured,
    /// The pod's annotation selects it.
    Selected,
}

/// What a pod's selection element asks of one network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Interface name, or empty.
    pub interface: String,
    /// Hardware address, or empty.
    pub mac: String,
    /// Addresses.
    pub ips: Vec<String>,
    /// InfiniBand GUID, or empty.
    pub infiniband_guid: String,
    /// Device, or empty.
    pub device_id: String,
    /// Ports of the host.
    pub port_mappings: Vec<PortMapping>,
    /// Limits of the traffic.
    pub bandwidth: Option<Bandwidth>,
    /// Next hops of the pod's default routes; `Some` of nothing asks for none at all.
    pub default_route: Option<Vec<IpAddr>>,
}

/// The families whose default routes a delegate has to give up, because another delegate supplies the pod's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// Why a configuration is no delegate. The texts are those of spec/multus.md 2 and 5.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// Neither form.
    #[error("LoadDelegateNetConfList: delegate must have the 'type' or 'plugin' field")]
    NoType,
    /// A list whose first plugin has no type.
    #[error("LoadDelegateNetConfList: a plugin delegate must have the 'type' field")]
    FirstPluginWithoutType,
    /// `spec.config` of a NAD is no JSON object.
    #[error("failed to unmarshal Spec.Config: {0}")]
    SpecConfig(JsonError),
    /// `args` or `args.cni` is there, but no object, so that cni-args cannot be merged into it.
    #[error("cannot merge cni-args: {0:?} of the network's configuration is not an object")]
    ArgsNotAnObject(&'static str),
    /// The cluster network's file is no list.
    #[error("error loading {0}: no 'type'; perhaps this is supposed to be a .conflist?")]
    PerhapsAList(String),
    /// The cluster network's file is something else than a file.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// What a file holds is wrong.
    #[error("error loading {file}")]
    File {
        /// Which one.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<DelegateError>,
    },
    /// Whatever the CNI protocol itself finds wrong.
    #[error("{0}")]
    Conf(polynic_cni::Error),
}

impl From<LoadError> for DelegateError {
    fn from(error: LoadError) -> DelegateError {
        DelegateError::Conf(error.into())
    }
}

impl From<&SelectionElement> for Request {
    fn from(element: &SelectionElement) -> Request {
        Request {
            interface: element.interface.clone(),
            mac: element.mac.clone(),
            ips: element.ips.clone(),
            infiniband_guid: element.infiniband_guid.clone(),
            device_id: element.device_id.clone(),
            port_mappings: element.port_mappings.clone(),
            bandwidth: element.bandwidth,
            default_route: element.default_route.clone(),
        }
    }
}

impl DelegateConf {
    /// From an object of the `delegates` key. One without a name loads, and fails when it is executed.
    pub fn inline(map: &JsonMap) -> Result<DelegateConf, DelegateError> {
        DelegateConf::from_bytes(json::print_sorted(&Value::Object(map.clone())).as_bytes())
    }

    /// From the `spec.config` of a NAD; a missing name becomes that of the NAD.
    pub fn from_spec(
        config: &str,
        nad_name: &str,
        display_name: String,
    ) -> Result<DelegateConf, DelegateError> {
        let mut map = json::parse_object(config.as_bytes()).map_err(DelegateError::SpecConfig)?;
        let delegate = if GoMap(&map).get("name").is_none_or(|name| name == "") {
            json::remove_ci(&mut map, "name");
            map.insert("name".to_owned(), Value::String(nad_name.to_owned()));
            DelegateConf::inline(&map)?
        } else {
            DelegateConf::from_bytes(config.as_bytes())?
        };
        Ok(DelegateConf { display_name, ..delegate })
    }

    /// From JSON of either form, kept as it is.
    pub fn from_bytes(bytes: &[u8]) -> Result<DelegateConf, DelegateError> {
        let broken = |why: JsonError| DelegateError::Conf(polynic_cni::Error::internal(why.to_string()));
        let map = json::parse_object(bytes).map_err(broken)?;
        let keys = GoMap(&map);
        let list = match keys.get("plugins") {
            Some(plugins) => list(&map, plugins)?,
            None if keys.get("type").is_none_or(|kind| kind == "") => return Err(DelegateError::NoType),
            None => ConfList::parse_single(bytes)?,
        };
        let is_list = keys.get("plugins").is_some();
        Ok(DelegateConf::new(ConfList { bytes: bytes.to_vec(), ..list }, is_list))
    }

    /// From a file that `clusterNetwork` or `defaultNetworks` names: a list by its extension, with what lies beside it.
    pub fn from_file(file: &Path) -> Result<DelegateConf, DelegateError> {
        if !is_list(file) {
            return DelegateConf::from_lone_file(file);
        }
        if !file.is_file() {
            return Err(DelegateError::NotAFile(file.display().to_string()));
        }
        Ok(DelegateConf::merged(conflist::load(file)?))
    }

    /// From a file alone: a list by its extension, else a single configuration.
    pub fn from_lone_file(file: &Path) -> Result<DelegateConf, DelegateError> {
        let name = || file.display().to_string();
        let bytes = fs::read(file).map_err(|source| LoadError::Read { path: file.to_owned(), source })?;
        let wanted = is_list(file);
        match DelegateConf::from_bytes(&bytes) {
            Ok(delegate) if delegate.is_list && !wanted => Err(DelegateError::PerhapsAList(name())),
            Ok(delegate) => Ok(delegate),
            Err(DelegateError::NoType) if !wanted => Err(DelegateError::PerhapsAList(name())),
            Err(why) => Err(DelegateError::File { file: name(), source: Box::new(why) }),
        }
    }

    /// From a list whose plugins come from several files: the bytes become those of the whole.
    pub fn merged(list: ConfList) -> DelegateConf {
        let mut map = json::parse_object(&list.bytes).unwrap_or_default();
        let plugins = list.plugins.iter().map(|plugin| Value::Object(plugin.raw.clone()));
        json::remove_ci(&mut map, "plugins");
        map.insert("plugins".to_owned(), Value::Array(plugins.collect()));
        let bytes = json::print_sorted(&Value::Object(map)).into_bytes();
        DelegateConf::new(ConfList { bytes, ..list }, true)
    }

    fn new(list: ConfList, is_list: bool) -> DelegateConf {
        DelegateConf { display_name: list.name.clone(), list, is_list, ..DelegateConf::default() }
    }

    /// The same delegate with what a selection element asks for; `cni-args` become part of its configuration.
    pub fn selected(self, element: &SelectionElement) -> Result<DelegateConf, DelegateError> {
        let edited = match &element.cni_args {
            Some(args) => self.with_cni_args(args)?,
            None => self,
        };
        Ok(DelegateConf { request: element.into(), ..edited })
    }

    fn with_cni_args(self, args: &JsonMap) -> Result<DelegateConf, DelegateError> {
        self.edited(|plugin| merge(plugin, args))
    }

    /// The same delegate with a device of its resource: every plugin is told by both of the keys in use.
    pub fn with_device(self, id: &str) -> Result<DelegateConf, DelegateError> {
        let edited = self.edited(|plugin| {
            for key in ["deviceID", "pciBusID"] {
                json::remove_ci(plugin, key);
                plugin.insert(key.to_owned(), Value::String(id.to_owned()));
            }
            Ok(())
        })?;
        let request = Request { device_id: id.to_owned(), ..edited.request };
        Ok(DelegateConf { request, has_allocated_device: true, ..edited })
    }

    /// Changes the single configuration, or every plugin of the list.
    fn edited(
        self,
        mut edit: impl FnMut(&mut JsonMap) -> Result<(), DelegateError>,
    ) -> Result<DelegateConf, DelegateError> {
        let mut map = json::parse_object(&self.list.bytes).unwrap_or_default();
        match json::get_mut_ci(&mut map, "plugins") {
            Some(Value::Array(plugins)) => {
                plugins.iter_mut().filter_map(Value::as_object_mut).try_for_each(edit)?
            }
            _ => edit(&mut map)?,
        }
        let edited = DelegateConf::inline(&map)?;
        Ok(DelegateConf { list: edited.list, ..self })
    }

    /// The interface name in the pod at a place of the final list (spec/multus.md 5.1).
    pub fn interface_at(&self, index: usize, primary: &str) -> String {
        match (self.request.interface.as_str(), index) {
            ("", 0) => primary.to_owned(),
            ("", index) => format!("net{index}"),
            (requested, _) => requested.to_owned(),
        }
    }

    /// Whether it supplies default routes of the pod.
    pub fn supplies_default_routes(&self) -> bool {
        self.request.default_route.as_ref().is_some_and(|hops| !hops.is_empty())
    }

    /// The type of a single configuration, or of a list's first plugin.
    pub fn plugin_type(&self) -> &str {
        self.list.plugins.first().map_or("", |plugin| &plugin.plugin_type)
    }
}

fn is_list(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "conflist")
}

/// A list is read by libcni's rules, except that its missing name shows only when it is executed.
fn list(map: &JsonMap, plugins: &Value) -> Result<ConfList, DelegateError> {
    let first = plugins.as_array().and_then(|plugins| plugins.first()).and_then(Value::as_object);
    if first.is_some_and(|plugin| GoMap(plugin).get("type").is_none_or(|kind| kind == "")) {
        return Err(DelegateError::FirstPluginWithoutType);
    }
    let mut map = map.clone();
    json::remove_ci(&mut map, "plugins");
    map.insert("plugins".to_owned(), plugins.clone());
    map.entry("name").or_insert_with(|| Value::String(String::new()));
    Ok(ConfList::parse(json::print_sorted(&Value::Object(map)).as_bytes())?)
}

/// Merges into `args.cni`: keys of `args` win, others stay.
fn merge(conf: &mut JsonMap, args: &JsonMap) -> Result<(), DelegateError> {
    let outer = object(conf, "args", "args")?;
    let cni = object(outer, "cni", "args.cni")?;
    cni.extend(args.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(())
}

/// The object under a key in whatever case; made if it is not there.
fn object<'m>(map: &'m mut JsonMap, key: &str, path: &'static str) -> Result<&'m mut JsonMap, DelegateError> {
    if json::get_ci(map, key).is_none() {
        json::remove_ci(map, key);
        map.insert(key.to_owned(), Value::Object(JsonMap::new()));
    }
    let found = json::get_mut_ci(map, key).and_then(Value::as_object_mut);
    found.ok_or(DelegateError::ArgsNotAnObject(path))
}

#[cfg(test)]
mod tests;
