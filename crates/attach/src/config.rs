//! The configuration of the `multus` plugin (spec/multus.md 2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use polynic_api::{Bandwidth, PortMapping};
use polynic_cni::json::{self, JsonError};
use polynic_cni::{Attachment, JsonMap, Success, Verb, Version};
use serde::Deserialize;
use serde_json::Value;

use crate::cause;
use crate::delegate_conf::{DelegateConf, DelegateError};
use crate::device_files::DeviceFiles;
use crate::log::LogConfig;

/// What `multus` is told to do, with all defaults applied.
#[derive(Clone, Debug)]
pub struct Config {
    /// `cniVersion` as written.
    pub cni_version: String,
    /// Directory that is searched for networks by their CNI name.
    pub conf_dir: PathBuf,
    /// Root of the scratch and result caches.
    pub cni_dir: PathBuf,
    /// Directory that is searched for plugins before `CNI_PATH`.
    pub bin_dir: String,
    /// Inline delegates, in order; empty when there is a cluster network.
    pub delegates: Vec<DelegateConf>,
    /// Where the cluster's default network is found, or empty.
    pub cluster_network: String,
    /// Networks that every pod outside the system namespaces gets.
    pub default_networks: Vec<String>,
    /// Namespaces whose pods get no `default_networks`.
    pub system_namespaces: Vec<String>,
    /// Namespace of NADs that the configuration names.
    pub multus_namespace: String,
    /// Pods may only select NADs of their own namespace.
    pub namespace_isolation: bool,
    /// Namespaces that are exempt from isolation.
    pub global_namespaces: Vec<String>,
    /// A file that has to exist before anything is attached.
    pub readiness_file: Option<PathBuf>,
    /// Path of the credentials, or empty for those of the cluster.
    pub kubeconfig: String,
    /// Keep the scratch cache when a DEL fails.
    pub retry_delete_on_error: bool,
    /// Name of the extra chain, or empty.
    pub auxiliary_chain: String,
    /// What the container runtime supplied for capabilities.
    pub runtime_config: RuntimeConfig,
    /// Where files about devices are. No key: every program that takes part knows the place.
    pub device_files: DeviceFiles,
    /// GC: what the container runtime says is still there; `None` if it says nothing.
    pub valid_attachments: Option<Vec<Attachment>>,
    /// Where to log.
    pub log: LogConfig,
    /// Fail instead of warn when a requested capability is missing (not in Multus; off by default).
    pub strict_capabilities: bool,
    /// Also write the plural status key (not in Multus 4; off by default).
    pub legacy_status_key: bool,
    /// Network policies are switched on, and this is the socket of who keeps them in force (not in Multus; off by default).
    pub policy_socket: Option<PathBuf>,
}

/// `runtimeConfig`: what the runtime, or a pod's selection element, supplies for capabilities. Other keys are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// Ports of the host.
    pub port_mappings: Vec<PortMapping>,
    /// Limits of the traffic.
    pub bandwidth: Option<Bandwidth>,
    /// Addresses.
    pub ips: Vec<String>,
    /// Hardware address.
    pub mac: String,
    /// InfiniBand GUID.
    #[serde(rename = "infinibandGUID")]
    pub infiniband_guid: String,
    /// Device.
    #[serde(rename = "deviceID")]
    pub device_id: String,
    /// File for information about the device.
    #[serde(rename = "CNIDeviceInfoFile")]
    pub device_info_file: String,
}

/// Why a configuration is refused. The texts are those of spec/multus.md 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No JSON, or a wrong type of a known key.
    #[error("LoadNetConf: failed to load netconf: {0}")]
    Json(JsonError),
    /// Nothing to do.
    #[error("LoadNetConf: at least one delegate/clusterNetwork must be specified")]
    NoDelegates,
    /// An inline delegate is wrong.
    #[error("LoadNetConf: failed to load delegate {index} config")]
    Delegate {
        /// Its place, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        source: DelegateError,
    },
    /// `prevResult` does not fit.
    #[error("LoadNetConf: {0}")]
    PrevResult(polynic_cni::Error),
}

impl From<ConfigError> for polynic_cni::Error {
    fn from(error: ConfigError) -> polynic_cni::Error {
        polynic_cni::Error::internal(cause::chain(&error))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    cni_version: String,
    // Only the runtime acts on it; a wrong type is an error all the same.
    #[serde(rename = "capabilities")]
    _capabilities: BTreeMap<String, bool>,
    conf_dir: String,
    cni_dir: String,
    bin_dir: String,
    delegates: Vec<JsonMap>,
    cluster_network: String,
    default_networks: Vec<String>,
    system_namespaces: Option<Vec<String>>,
    multus_namespace: String,
    namespace_isolation: bool,
    global_namespaces: String,
    readinessindicatorfile: String,
    kubeconfig: String,
    retry_delete_on_error: bool,
    #[serde(rename = "auxiliaryCNIChainName")]
    auxiliary_chain: String,
    runtime_config: RuntimeConfig,
    prev_result: Option<JsonMap>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<Attachment>>,
    #[serde(rename = "cni.dev/attachments")]
    attachments: Option<Vec<Attachment>>,
    strict_capabilities: bool,
    legacy_status_key: bool,
    multi_network_policy: bool,
    multi_network_policy_socket: String,
}

/// Where the node agent takes requests about network policies unless a configuration says otherwise.
pub const POLICY_SOCKET: &str = "/run/polynic/policy.sock";

impl Config {
    /// Reads stdin. Keys match in any case, unknown ones are ignored.
    pub fn parse(stdin: &[u8]) -> Result<Config, ConfigError> {
        Config::from_map(&json::parse_object(stdin).map_err(ConfigError::Json)?)
    }

    /// Reads stdin of a call. A DEL does not look at `prevResult`: one that cannot be read keeps nothing from being deleted
    /// (spec/decisions.md, "DEL cleans the node with whatever is left").
    pub fn of_call(verb: Verb, stdin: &[u8]) -> Result<Config, ConfigError> {
        let mut map = json::parse_object(stdin).map_err(ConfigError::Json)?;
        if verb == Verb::Del {
            json::remove_ci(&mut map, "prevResult");
        }
        Config::from_map(&map)
    }

    fn from_map(map: &JsonMap) -> Result<Config, ConfigError> {
        let log = json::from_map(map).map_err(ConfigError::Json)?;
        let written: Written = json::from_map(map).map_err(ConfigError::Json)?;
        check_prev_result(&written)?;
        let delegates = inline_delegates(&written)?;
        Ok(Config::with_defaults(written, delegates, log))
    }

    fn with_defaults(written: Written, delegates: Vec<DelegateConf>, log: LogConfig) -> Config {
        let global_namespaces = or(written.global_namespaces, "default");
        let system_namespaces = written.system_namespaces.unwrap_or_else(|| vec!["kube-system".to_owned()]);
        Config {
            cni_version: written.cni_version,
            conf_dir: or(written.conf_dir, "/etc/cni/multus/net.d").into(),
            cni_dir: or(written.cni_dir, "/var/lib/cni/multus").into(),
            bin_dir: or(written.bin_dir, "/opt/cni/bin"),
            delegates,
            cluster_network: written.cluster_network,
            default_networks: written.default_networks,
            system_namespaces,
            multus_namespace: or(written.multus_namespace, "kube-system"),
            namespace_isolation: written.namespace_isolation,
            global_namespaces: global_namespaces.split(',').map(|name| name.trim().to_owned()).collect(),
            readiness_file: Some(written.readinessindicatorfile)
                .filter(|file| !file.is_empty())
                .map(PathBuf::from),
            kubeconfig: written.kubeconfig,
            retry_delete_on_error: written.retry_delete_on_error,
            auxiliary_chain: written.auxiliary_chain,
            runtime_config: written.runtime_config,
            device_files: DeviceFiles::default(),
            valid_attachments: written.valid_attachments.or(written.attachments),
            log,
            strict_capabilities: written.strict_capabilities,
            legacy_status_key: written.legacy_status_key,
            policy_socket: Some(or(written.multi_network_policy_socket, POLICY_SOCKET).into())
                .filter(|_| written.multi_network_policy),
        }
    }

    /// `CNI_PATH` of the delegates: our own directory first, then what the runtime says.
    pub fn plugin_path(&self, runtime_path: &str) -> String {
        if runtime_path.is_empty() {
            self.bin_dir.clone()
        } else {
            format!("{}:{runtime_path}", self.bin_dir)
        }
    }

    /// May a pod of one namespace select a NAD of another?
    pub fn allows(&self, pod_namespace: &str, nad_namespace: &str) -> bool {
        !self.namespace_isolation
            || pod_namespace == nad_namespace
            || self.global_namespaces.iter().any(|name| name == nad_namespace)
    }

    /// The directory that holds the cluster network's file, if the cluster network is a path.
    pub fn cluster_network_dir(&self) -> Option<&Path> {
        Some(Path::new(&self.cluster_network)).filter(|_| self.cluster_network.contains('/'))?.parent()
    }
}

fn or(value: String, default: &str) -> String {
    if value.is_empty() { default.to_owned() } else { value }
}

/// It is not used, but has to make sense: in the version that it names itself, because the node agent may lay another `cniVersion` over the
/// one with which the runtime has cached it.
fn check_prev_result(written: &Written) -> Result<(), ConfigError> {
    let Some(previous) = &written.prev_result else { return Ok(()) };
    let broken = |why: &dyn std::error::Error| {
        ConfigError::PrevResult(polynic_cni::Error::internal(format!("could not parse prevResult: {why}")))
    };
    let version = Version::or_oldest(&written.cni_version).map_err(|why| broken(&why))?;
    let text = Value::Object(previous.clone()).to_string();
    Success::parse(text.as_bytes(), version).map(drop).map_err(|why| broken(&why))
}

fn inline_delegates(written: &Written) -> Result<Vec<DelegateConf>, ConfigError> {
    if !written.cluster_network.is_empty() {
        return Ok(Vec::new());
    }
    if written.delegates.is_empty() {
        return Err(ConfigError::NoDelegates);
    }
    let load = |(index, map): (usize, &JsonMap)| {
        DelegateConf::inline(map).map_err(|source| ConfigError::Delegate { index, source })
    };
    written.delegates.iter().enumerate().map(load).collect()
}

#[cfg(test)]
mod tests;
