//! What the agent is told: `conf.yml` and the environment (spec/spiderpool.md 13.3 and 14).

use std::path::{Path, PathBuf};

use polynic_ipam::{PodKey, Settings};
use polynic_runtime::configuration::{ConfigurationError, Environment, Variables, from_yaml, read_file};
use polynic_wire::{DEFAULT_SOCKET, journal};
use serde::Deserialize;

/// Where the configuration file is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/tmp/spiderpool/config-map/conf.yml";

/// Everything the agent is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The unix socket to listen on.
    pub socket: PathBuf,
    /// Name of this node.
    pub node: String,
    /// Level of the log.
    pub log_level: String,
    /// Port of the probes on all addresses; none is no probes.
    pub health_port: Option<u16>,
    /// Port of the metrics on all addresses; none is no metrics.
    pub metrics_port: Option<u16>,
    /// The name of the SpiderCoordinator that counts.
    pub coordinator: String,
    /// Whether plugins are to look for somebody who has the address already.
    pub detect_conflicts: bool,
    /// Whether plugins are to look whether the gateway answers.
    pub detect_gateways: bool,
    /// Whether to set the node's sysctls (13.4).
    pub tune_sysctls: bool,
    /// What is asked for and is not there, with what happens instead: worth a warning.
    pub missing: Vec<&'static str>,
    /// Directory of releases that wait.
    pub releases: PathBuf,
    /// For the allocator.
    pub allocator: Settings,
}

/// `conf.yml`. What is absent has the value that the Helm chart writes by default.
#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    ipam_unix_socket_path: String,
    #[serde(rename = "enableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "enableIPv6")]
    enable_ipv6: bool,
    enable_stateful_set: bool,
    #[serde(rename = "enableKubevirtStaticIP")]
    enable_kubevirt_static_ip: bool,
    enable_spider_subnet: bool,
    enable_auto_pool_for_application: bool,
    /// The chart writes this one,
    #[serde(rename = "clusterSubnetDefaultFlexibleIPNumber")]
    cluster_subnet_default_flexible_ip_number: Option<u32>,
    /// and the replaced agent reads this one.
    #[serde(rename = "clusterSubnetAutoPoolDefaultRedundantIPNumber")]
    cluster_subnet_auto_pool_default_redundant_ip_number: Option<u32>,
    #[serde(rename = "enableIPConflictDetection")]
    enable_ip_conflict_detection: bool,
    enable_gateway_detection: bool,
    tune_sysctl_config: bool,
    iaas_network_provider: IaasNetworkProvider,
    agent: AgentPart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IaasNetworkProvider {
    server_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AgentPart {
    network_resource_plugin: Enabled,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Enabled {
    enabled: bool,
}

impl Default for File {
    fn default() -> Self {
        Self {
            ipam_unix_socket_path: DEFAULT_SOCKET.to_owned(),
            enable_ipv4: true,
            enable_ipv6: true,
            enable_stateful_set: true,
            enable_kubevirt_static_ip: true,
            enable_spider_subnet: true,
            enable_auto_pool_for_application: true,
            cluster_subnet_default_flexible_ip_number: None,
            cluster_subnet_auto_pool_default_redundant_ip_number: None,
            enable_ip_conflict_detection: false,
            enable_gateway_detection: false,
            tune_sysctl_config: false,
            iaas_network_provider: IaasNetworkProvider::default(),
            agent: AgentPart::default(),
        }
    }
}

impl Config {
    /// Reads file and environment.
    pub fn load(path: &Path, environment: Environment<'_>) -> Result<Self, ConfigurationError> {
        Self::read(&read_file(path)?, environment).map_err(|why| why.of_file(path))
    }

    /// Reads the text of the file, and the environment.
    pub fn read(text: &str, environment: Environment<'_>) -> Result<Self, ConfigurationError> {
        let file: File = from_yaml(text)?;
        let env = Variables(environment);
        if !file.iaas_network_provider.server_url.is_empty() {
            return Err(ConfigurationError::Unsupported {
                key: "iaasNetworkProvider.serverUrl",
                why: "the provider would not be told of addresses, and would drop their packets",
            });
        }
        let metrics = env.flag("SPIDERPOOL_ENABLED_METRIC", false)?;
        let metrics_port = env.number("SPIDERPOOL_METRIC_HTTP_PORT", 5711)?;
        let health_port = env.number("SPIDERPOOL_HEALTH_PORT", 5710)?;
        Ok(Self {
            node: env.required("SPIDERPOOL_NODE_NAME")?,
            log_level: env.text("SPIDERPOOL_LOG_LEVEL", ""),
            health_port: Some(health_port).filter(|port| *port != 0),
            metrics_port: metrics.then_some(metrics_port),
            coordinator: env.text("SPIDERPOOL_COORDINATOR_DEAFULT_NAME", "default"),
            detect_conflicts: file.enable_ip_conflict_detection,
            detect_gateways: file.enable_gateway_detection,
            tune_sysctls: file.tune_sysctl_config,
            missing: missing(&file, &env)?,
            releases: journal::DIRECTORY.into(),
            allocator: allocator(&file, &env)?,
            socket: file.ipam_unix_socket_path.into(),
        })
    }
}

fn missing(file: &File, env: &Variables<'_>) -> Result<Vec<&'static str>, ConfigurationError> {
    let asked = [
        (
            file.agent.network_resource_plugin.enabled,
            "agent.networkResourcePlugin: there is none; pods that ask for its resources (spidernet.io/...) are not scheduled",
        ),
        (
            env.flag("SPIDERPOOL_ENABLED_RDMA_METRIC", false)?,
            "SPIDERPOOL_ENABLED_RDMA_METRIC: there are no rdma_ metrics; all others are served",
        ),
    ];
    Ok(asked.into_iter().filter(|(asked, _)| *asked).map(|(_, why)| why).collect())
}

fn allocator(file: &File, env: &Variables<'_>) -> Result<Settings, ConfigurationError> {
    let default = Settings::default();
    let agent_namespace = env.text("SPIDERPOOL_POD_NAMESPACE", &default.agent_namespace);
    let network = env.text("MULTUS_CLUSTER_NETWORK", "");
    let number = file.cluster_subnet_auto_pool_default_redundant_ip_number;
    let number = number.or(file.cluster_subnet_default_flexible_ip_number);
    let wait_seconds: u64 = env.number("SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND", 2)?;
    Ok(Settings {
        cluster_network: Some(network).filter(|network| !network.is_empty()).map(|network| {
            match network.split_once('/') {
                Some((namespace, name)) => PodKey::new(namespace, name),
                None => PodKey::new(agent_namespace.clone(), network),
            }
        }),
        agent_namespace,
        ipv4: file.enable_ipv4,
        ipv6: file.enable_ipv6,
        stateful_set: file.enable_stateful_set,
        kubevirt: file.enable_kubevirt_static_ip,
        subnet: file.enable_spider_subnet,
        auto_pool: file.enable_auto_pool_for_application,
        flexible_number: number.unwrap_or(default.flexible_number),
        max_records: env.number("SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS", default.max_records)?,
        release_conflicts: env.flag("SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS", true)?,
        auto_pool_wait_millis: wait_seconds.saturating_mul(1000),
        auto_pool_tries: env.number("SPIDERPOOL_WAIT_SUBNET_POOL_MAX_RETRIES", default.auto_pool_tries)?,
        ..default
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let env = |name: &str| match name {
            "SPIDERPOOL_NODE_NAME" => Some("n1".to_owned()),
            _ => env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        };
        Config::read(text, &env).map_err(|why| why.to_string())
    }

    #[test]
    fn an_empty_file_has_the_defaults_of_the_chart() {
        let config = read("", &[]).unwrap();
        assert_eq!(config.socket, Path::new("/var/run/spidernet/spiderpool.sock"));
        assert_eq!((config.health_port, config.metrics_port), (Some(5710), None));
        assert_eq!(config.allocator, Settings::default());
        assert_eq!(config.coordinator, "default");
        assert!(!config.detect_conflicts && !config.detect_gateways && !config.tune_sysctls);
        assert_eq!(read("unknownKey: {a: 1}\n", &[]), Ok(config));
    }

    #[test]
    fn every_key_and_variable_counts() {
        let text = "ipamUnixSocketPath: /run/a.sock\nenableIPv4: false\nenableIPv6: false\nenableStatefulSet: false\n\
            enableKubevirtStaticIP: false\nenableSpiderSubnet: false\nenableAutoPoolForApplication: false\n\
            clusterSubnetDefaultFlexibleIPNumber: 3\nenableIPConflictDetection: true\nenableGatewayDetection: true\n\
            tuneSysctlConfig: true\n";
        let env = [
            ("SPIDERPOOL_ENABLED_METRIC", "true"),
            ("SPIDERPOOL_METRIC_HTTP_PORT", "1"),
            ("SPIDERPOOL_HEALTH_PORT", "0"),
            ("SPIDERPOOL_POD_NAMESPACE", "spider"),
            ("MULTUS_CLUSTER_NETWORK", "main"),
            ("SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS", "9"),
            ("SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS", "false"),
            ("SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND", "4"),
            ("SPIDERPOOL_WAIT_SUBNET_POOL_MAX_RETRIES", "6"),
        ];
        let config = read(text, &env).unwrap();
        let expected = Settings {
            agent_namespace: "spider".into(),
            cluster_network: Some(PodKey::new("spider", "main")),
            ipv4: false,
            ipv6: false,
            stateful_set: false,
            kubevirt: false,
            subnet: false,
            auto_pool: false,
            flexible_number: 3,
            max_records: 9,
            release_conflicts: false,
            auto_pool_wait_millis: 4000,
            auto_pool_tries: 6,
            ..Settings::default()
        };
        assert_eq!(config.allocator, expected);
        assert_eq!((config.health_port, config.metrics_port), (None, Some(1)));
        assert!(config.detect_conflicts && config.detect_gateways && config.tune_sysctls);
        assert_eq!(config.socket, Path::new("/run/a.sock"));
    }

    #[test]
    fn what_is_not_there_is_refused_where_it_would_do_harm_and_told_otherwise() {
        let error = read("iaasNetworkProvider: {serverUrl: 'http://iaas'}\n", &[]).unwrap_err();
        assert!(error.contains("iaasNetworkProvider.serverUrl is not supported"), "{error}");
        let config = read("iaasNetworkProvider: {serverUrl: '', httpRequestTimeout: 30s}\n", &[]).unwrap();
        assert_eq!(config.missing, [""; 0]);
        let rdma = [("SPIDERPOOL_ENABLED_RDMA_METRIC", "true")];
        let config = read("agent: {networkResourcePlugin: {enabled: true}}\n", &rdma).unwrap();
        assert!(config.missing[0].contains("networkResourcePlugin") && config.missing[1].contains("RDMA"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(Config::read("", &|_| None).unwrap_err().to_string().contains("SPIDERPOOL_NODE_NAME"));
        let error = read("", &[("SPIDERPOOL_HEALTH_PORT", "x")]).unwrap_err();
        assert!(error.contains("SPIDERPOOL_HEALTH_PORT") && error.contains("number"), "{error}");
        let error = read("enableIPv4: [1]\n", &[]).unwrap_err();
        assert!(error.contains("not understood"), "{error}");
    }
}
