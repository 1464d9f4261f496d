//! What the controller is told: `conf.yml` and the environment (spec/spiderpool.md 9.1, 13.3 and 14).

use std::path::Path;
use std::time::Duration;

use polynic_api::admission::Rules;
use polynic_ipam::Settings as Fixed;
use polynic_ipam::gc::GcSettings;
use polynic_runtime::configuration::{ConfigurationError, Environment, Variables, from_yaml, read_file};
use serde::Deserialize;

use crate::coordinator::CoordinatorSettings;
use crate::gc::GcOptions;
use crate::reconcile::Pace;
use crate::webhook::registration::PodNamespaces;

/// Where the configuration file is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/tmp/spiderpool/config-map/conf.yml";

/// Ports that are listened on, on all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Of the probes.
    pub health: u16,
    /// Of the metrics; none is no metrics.
    pub metrics: Option<u16>,
    /// Of the webhooks.
    pub webhook: u16,
}

/// Everything the controller is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the controller: of its Lease, Secret and Service.
    pub namespace: String,
    /// The pod's name: who we are in the Lease.
    pub identity: String,
    /// Name of the Service and of the webhook configurations.
    pub service: String,
    /// Level of the log.
    pub log_level: String,
    /// Ports.
    pub ports: Ports,
    /// Whether metrics of single pools and subnets are shown.
    pub debug_metrics: bool,
    /// How often pools and subnets are counted for the metrics.
    pub metrics_period: Duration,
    /// How the API server reaches the webhooks; empty is by the Service.
    pub webhook_url: String,
    /// Switches of the webhooks.
    pub rules: Rules,
    /// Of which namespaces pods get networks by the group they name (`podResourceInject`); absent: of none.
    pub pods: Option<PodNamespaces>,
    /// Whether SpiderMultusConfigs are looked after.
    pub multus_configs: bool,
    /// Whether the SpiderCoordinator is looked after, and how.
    pub coordinator: Option<CoordinatorSettings>,
    /// Whether garbage is collected, and how.
    pub gc: Option<GcOptions>,
    /// Whether applications get automatic pools, and how many addresses more than replicas.
    pub auto_pools: Option<u32>,
    /// How long a leader is trusted, how long it may fail to renew, and the time between two attempts.
    pub lease: (Duration, Duration, Duration),
    /// Of reconcilers.
    pub pace: Pace,
}

/// `conf.yml`. What is absent has the value that the Helm chart writes by default; unknown keys are ignored.
#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    #[serde(rename = "enableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "enableIPv6")]
    enable_ipv6: bool,
    enable_stateful_set: bool,
    #[serde(rename = "enableKubevirtStaticIP")]
    enable_kubevirt_static_ip: bool,
    enable_spider_subnet: bool,
    enable_auto_pool_for_application: bool,
    #[serde(rename = "clusterSubnetDefaultFlexibleIPNumber")]
    flexible_number: Option<u32>,
    #[serde(rename = "clusterSubnetAutoPoolDefaultRedundantIPNumber")]
    redundant_number: Option<u32>,
    enable_clean_outdated_endpoint: bool,
    enable_validating_resources_deleted_webhook: bool,
    pod_resource_inject: PodResourceInject,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodResourceInject {
    enabled: bool,
    namespaces_exclude: Vec<String>,
    namespaces_include: Vec<String>,
}

impl Default for PodResourceInject {
    fn default() -> Self {
        let exclude = ["kube-system", "spiderpool", "metallb-system", "istio-system"];
        Self {
            enabled: false,
            namespaces_exclude: exclude.map(str::to_owned).to_vec(),
            namespaces_include: Vec::new(),
        }
    }
}

impl Default for File {
    fn default() -> Self {
        Self {
            enable_ipv4: true,
            enable_ipv6: true,
            enable_stateful_set: true,
            enable_kubevirt_static_ip: true,
            enable_spider_subnet: true,
            enable_auto_pool_for_application: true,
            flexible_number: None,
            redundant_number: None,
            enable_clean_outdated_endpoint: false,
            enable_validating_resources_deleted_webhook: false,
            pod_resource_inject: PodResourceInject::default(),
        }
    }
}

impl Settings {
    /// Reads file and environment.
    ///
    /// # Errors
    /// The file cannot be read or understood, or a variable has no such value.
    pub fn load(path: &Path, environment: Environment<'_>) -> Result<Self, ConfigurationError> {
        Self::read(&read_file(path)?, environment).map_err(|why| why.of_file(path))
    }

    /// Reads the text of the file, and the environment.
    ///
    /// # Errors
    /// The text cannot be understood, or a variable has no such value.
    pub fn read(text: &str, environment: Environment<'_>) -> Result<Self, ConfigurationError> {
        let file: File = from_yaml(text)?;
        let env = Variables(environment);
        let with_metrics = env.flag("SPIDERPOOL_ENABLED_METRIC", false)?;
        let namespace = env.text("SPIDERPOOL_POD_NAMESPACE", "kube-system");
        let retry = env.seconds("SPIDERPOOL_WORKQUEUE_RETRY_DELAY_DURATION", 5)?;
        let resync = env.seconds("SPIDERPOOL_IPPOOL_INFORMER_RESYNC_PERIOD", 300)?;
        Ok(Self {
            identity: env.text("SPIDERPOOL_POD_NAME", "spiderpool-controller"),
            service: env.text("SPIDERPOOL_CONTROLLER_DEPLOYMENT_NAME", "spiderpool-controller"),
            log_level: env.text("SPIDERPOOL_LOG_LEVEL", ""),
            ports: Ports {
                health: env.number("SPIDERPOOL_HEALTH_PORT", 5720)?,
                metrics: with_metrics.then_some(env.number("SPIDERPOOL_METRIC_HTTP_PORT", 5721)?),
                webhook: env.number("SPIDERPOOL_WEBHOOK_PORT", 5722)?,
            },
            debug_metrics: env.flag("SPIDERPOOL_ENABLED_DEBUG_METRIC", false)?,
            metrics_period: env.seconds("SPIDERPOOL_METRIC_RENEW_PERIOD", 120)?,
            webhook_url: env.text("SPIDERPOOL_WEBHOOK_URL", ""),
            rules: rules(&file),
            pods: file.pod_resource_inject.enabled.then(|| PodNamespaces {
                exclude: file.pod_resource_inject.namespaces_exclude.clone(),
                include: file.pod_resource_inject.namespaces_include.clone(),
            }),
            multus_configs: env.flag("SPIDERPOOL_MULTUS_CONFIG_ENABLED", true)?,
            coordinator: coordinator(&env)?,
            gc: gc(&file, &env)?,
            auto_pools: (file.enable_spider_subnet && file.enable_auto_pool_for_application)
                .then(|| file.redundant_number.or(file.flexible_number).unwrap_or(1)),
            lease: (
                env.seconds("SPIDERPOOL_LEADER_DURATION", 15)?,
                env.seconds("SPIDERPOOL_LEADER_RENEW_DEADLINE", 10)?,
                env.seconds("SPIDERPOOL_LEADER_RETRY_PERIOD", 2)?,
            ),
            pace: Pace { retry, resync },
            namespace,
        })
    }
}

fn rules(file: &File) -> Rules {
    Rules {
        ipv4: file.enable_ipv4,
        ipv6: file.enable_ipv6,
        subnets: file.enable_spider_subnet,
        protect_in_use: file.enable_validating_resources_deleted_webhook,
    }
}

fn coordinator(env: &Variables<'_>) -> Result<Option<CoordinatorSettings>, ConfigurationError> {
    if !env.flag("SPIDERPOOL_COORDINATOR_ENABLED", true)? {
        return Ok(None);
    }
    let cilium = env.text("SPIDERPOOL_CILIUM_CONFIGMAP_NAMESPACE_NAME", "kube-system/cilium-config");
    let (namespace, name) = cilium.split_once('/').unwrap_or(("kube-system", &cilium));
    Ok(Some(CoordinatorSettings {
        name: env.text("SPIDERPOOL_COORDINATOR_DEAFULT_NAME", "default"),
        cni_directory: env.text("SPIDERPOOL_CNI_CONFIG_DIR", "/etc/cni/net.d").into(),
        cilium: (namespace.to_owned(), name.to_owned()),
        period: Duration::from_secs(5),
    }))
}

fn gc(file: &File, env: &Variables<'_>) -> Result<Option<GcOptions>, ConfigurationError> {
    if !env.flag("SPIDERPOOL_GC_IP_ENABLED", true)? {
        return Ok(None);
    }
    let rules = GcSettings {
        zombies_on_ready_nodes: env
            .flag("SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_READY_NODE_ENABLED", true)?,
        zombies_on_other_nodes: env
            .flag("SPIDERPOOL_GC_STATELESS_TERMINATING_POD_ON_NOT_READY_NODE_ENABLED", true)?,
        running_without_ips: env
            .flag("SPIDERPOOL_GC_ENABLE_STATELESS_RUNNING_POD_ON_EMPTY_POD_STATUS_IPS", false)?,
        delay: env.number("SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY", 0)?,
    };
    Ok(Some(GcOptions {
        rules,
        interval: env.seconds("SPIDERPOOL_GC_DEFAULT_INTERVAL_DURATION", 600)?,
        trace_gap: env.seconds("SPIDERPOOL_GC_TRACE_POD_GAP_DURATION", 5)?,
        workers: env.number("SPIDERPOOL_GC_IP_WORKER_NUM", 3)?,
        retries: env.number("SPIDERPOOL_GC_PODENTRY_MAX_RETRIES", 5)?,
        capacity: env.number("SPIDERPOOL_GC_MAX_PODENTRY_DB_CAP", 100_000)?,
        clean_outdated: file.enable_clean_outdated_endpoint,
        fixed: Fixed {
            stateful_set: file.enable_stateful_set,
            kubevirt: file.enable_kubevirt_static_ip,
            ..Fixed::default()
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigurationError> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let look = move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        Settings::read(text, &look)
    }

    #[test]
    fn nothing_at_all_is_the_documented_default() {
        let settings = read("", &[]).unwrap();
        assert_eq!(settings.ports, Ports { health: 5720, metrics: None, webhook: 5722 });
        assert_eq!(settings.rules, Rules { ipv4: true, ipv6: true, subnets: true, protect_in_use: false });
        let gc = settings.gc.unwrap();
        assert_eq!(
            (gc.interval.as_secs(), gc.trace_gap.as_secs(), gc.workers, gc.rules),
            (600, 5, 3, GcSettings::default())
        );
        assert_eq!(settings.coordinator.unwrap().name, "default");
        assert_eq!(
            (settings.auto_pools, settings.lease.0.as_secs(), settings.multus_configs),
            (Some(1), 15, true)
        );
    }

    #[test]
    fn file_and_environment_are_read_and_unknown_keys_ignored() {
        let text = "enableIPv6: false\nenableSpiderSubnet: false\nenableValidatingResourcesDeletedWebhook: true\nsomeday: 1\n\
                    enableCleanOutdatedEndpoint: true\nenableStatefulSet: false\n";
        let variables = [
            ("SPIDERPOOL_ENABLED_METRIC", "true"),
            ("SPIDERPOOL_GC_ADDITIONAL_GRACE_DELAY", "7"),
            ("SPIDERPOOL_COORDINATOR_ENABLED", "false"),
            ("SPIDERPOOL_POD_NAMESPACE", "spiderpool"),
        ];
        let settings = read(text, &variables).unwrap();
        assert_eq!(settings.rules, Rules { ipv4: true, ipv6: false, subnets: false, protect_in_use: true });
        assert_eq!((settings.ports.metrics, settings.namespace.as_str()), (Some(5721), "spiderpool"));
        let gc = settings.gc.unwrap();
        assert!(gc.clean_outdated && !gc.fixed.stateful_set && gc.rules.delay == 7);
        assert!(settings.coordinator.is_none() && settings.auto_pools.is_none());
    }

    #[test]
    fn pods_are_given_networks_only_if_asked_for() {
        let pods = |text: &str| read(text, &[]).unwrap().pods;
        assert_eq!(pods("podResourceInject: {namespacesInclude: [a]}"), None);
        let pods = pods("podResourceInject: {enabled: true, namespacesInclude: [a]}").unwrap();
        assert_eq!(pods.exclude, ["kube-system", "spiderpool", "metallb-system", "istio-system"]);
        assert_eq!(pods.include, ["a"]);
    }

    #[test]
    fn both_spellings_of_the_default_number_count() {
        let of = |text: &str| read(text, &[]).unwrap().auto_pools;
        assert_eq!(of("clusterSubnetDefaultFlexibleIPNumber: 3"), Some(3));
        assert_eq!(of("clusterSubnetAutoPoolDefaultRedundantIPNumber: 0"), Some(0));
    }

    #[test]
    fn wrong_values_are_named() {
        let error = read("", &[("SPIDERPOOL_WEBHOOK_PORT", "x")]).unwrap_err().to_string();
        assert_eq!(error, "the environment variable SPIDERPOOL_WEBHOOK_PORT is \"x\", which is no number");
        assert!(read("enableIPv4: perhaps", &[]).is_err());
    }
}
