//! Which delegates a pod gets, in their order (spec/multus.md 5).
//!
//! All NADs that are wanted are known before the first is read, so they are read at once.

use polynic_api::selection::{self, SelectionElement, SelectionError};
use polynic_api::{annotation, event};

use crate::cluster::{Cluster, PodInfo};
use crate::config::Config;
use crate::default_route;
use crate::delegate_conf::{DelegateConf, DelegateError, Origin};

mod auxiliary;
mod cluster_network;
mod conf_dir;
mod nads;

use nads::Nads;

/// Why the delegates of a pod could not be determined. Nothing has been executed then.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// A cluster network, but nobody to ask.
    #[error("must have either Kubernetes config or delegates")]
    NoCluster,
    /// The cluster network cannot be found.
    #[error("failed to get clusterNetwork {name} in namespace {namespace}")]
    ClusterNetwork {
        /// As configured.
        name: String,
        /// Where NADs of that name are looked for.
        namespace: String,
        /// What is wrong.
        #[source]
        source: Box<SelectError>,
    },
    /// One of the default networks cannot be found.
    #[error("failed to get defaultNetworks {name} in namespace {namespace}")]
    DefaultNetwork {
        /// As configured.
        name: String,
        /// Where NADs of that name are looked for.
        namespace: String,
        /// What is wrong.
        #[source]
        source: Box<SelectError>,
    },
    /// An annotation of the pod is wrong.
    #[error("annotation {key}")]
    Annotation {
        /// Which one.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: SelectionError,
    },
    /// The pod selects what it may not.
    #[error(
        "namespace isolation enabled, annotation violates permission, pod is in namespace {pod} but refers to target namespace {target}"
    )]
    Isolation {
        /// The pod's namespace.
        pod: String,
        /// The NAD's namespace.
        target: String,
    },
    /// A NAD cannot be read.
    #[error("{}", event::no_network_found(name, namespace, cause))]
    Nad {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What the API server says.
        cause: String,
    },
    /// A NAD was read, but cannot be executed.
    #[error("network-attachment-definition ({name}) in namespace ({namespace})")]
    Unusable {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What is wrong.
        #[source]
        source: Box<SelectError>,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// No files.
    #[error("No networks found in {0}")]
    NoFiles(String),
    /// Files, but none of that name.
    #[error("no network available in the name {name} in cni dir {directory}")]
    NoFileOfName {
        /// The name.
        name: String,
        /// Where.
        directory: String,
    },
    /// Too many next hops.
    #[error("multus does not support ECMP for default-route")]
    SeveralNextHops,
    /// The auxiliary chain is found beside the cluster network's file.
    #[error("auxiliary chain used but ClusterNetwork must be a path")]
    AuxiliaryWithoutPath,
    /// The auxiliary chain's name becomes the name of a directory.
    #[error("invalid auxiliaryCNIChainName {0:?}")]
    AuxiliaryName(String),
}

impl SelectError {
    /// The NAD that is to blame, if it is one that could not be read: name, namespace, cause.
    pub fn missing_nad(&self) -> Option<(&str, &str, &str)> {
        match self {
            SelectError::Nad { name, namespace, cause } => Some((name, namespace, cause)),
            SelectError::ClusterNetwork { source, .. } | SelectError::DefaultNetwork { source, .. } => {
                source.missing_nad()
            }
            _ => None,
        }
    }
}

/// What the pod's annotations say.
#[derive(Debug, Default)]
struct Wanted {
    default: Option<SelectionElement>,
    networks: Vec<SelectionElement>,
}

/// The delegates of a pod; without a pod those of the configuration alone.
pub fn delegates(
    config: &Config,
    cluster: Option<&dyn Cluster>,
    pod: Option<&PodInfo>,
) -> Result<Vec<DelegateConf>, SelectError> {
    let wanted = pod.map(|pod| wanted(config, pod)).transpose()?.unwrap_or_default();
    let nads = Nads::read(cluster, nads::wanted(config, &wanted, extra_networks(config, pod)));
    let mut list = configured(config, cluster.is_some(), pod, &nads)?;
    if let Some(element) = &wanted.default {
        let delegate = selected(config, &nads, element)?;
        match list.first_mut() {
            Some(master) => *master = delegate,
            None => list.push(delegate),
        }
    }
    list.iter_mut().for_each(|delegate| delegate.origin = Some(Origin::Configured));
    for element in &wanted.networks {
        list.push(of_the_pod(config, &nads, element)?);
    }
    default_route::assign(&mut list)?;
    Ok(list)
}

/// The auxiliary chain, which runs last for every pod, if there is one.
pub fn auxiliary(config: &Config) -> Result<Option<DelegateConf>, SelectError> {
    auxiliary::chain(config)
}

/// The delegate whose result becomes that of the call.
pub fn master(config: &Config, cluster: Option<&dyn Cluster>) -> Result<DelegateConf, SelectError> {
    if config.cluster_network.is_empty() {
        return config.delegates.first().cloned().ok_or(SelectError::NoCluster);
    }
    let nads = Nads::read(cluster, nads::wanted(config, &Wanted::default(), &[]));
    cluster_network(config, cluster.is_some(), &nads)
}

/// The networks that a pod selects, checked as for an ADD; nobody is asked yet.
pub fn networks(config: &Config, pod: &PodInfo) -> Result<Vec<SelectionElement>, SelectError> {
    wanted(config, pod).map(|wanted| wanted.networks)
}

/// The delegate of one selected network.
pub fn one(
    config: &Config,
    cluster: Option<&dyn Cluster>,
    element: &SelectionElement,
) -> Result<DelegateConf, SelectError> {
    let wanted = Wanted { default: None, networks: vec![element.clone()] };
    let bare = Config { cluster_network: String::new(), ..config.clone() };
    let nads = Nads::read(cluster, nads::wanted(&bare, &wanted, &[]));
    of_the_pod(config, &nads, element)
}

fn wanted(config: &Config, pod: &PodInfo) -> Result<Wanted, SelectError> {
    let value = |key: &str| pod.annotations.get(key).map(String::as_str);
    let wrong = |key| move |source| SelectError::Annotation { key, source };
    let default = value(annotation::DEFAULT_NETWORK)
        .map(|value| selection::parse_default_network(value, &config.multus_namespace))
        .transpose()
        .map_err(wrong(annotation::DEFAULT_NETWORK))?;
    let networks = selection::parse_networks(value(annotation::NETWORKS).unwrap_or_default(), &pod.namespace)
        .map_err(wrong(annotation::NETWORKS))?;
    let forbidden = networks.iter().find(|element| !config.allows(&pod.namespace, &element.namespace));
    match forbidden {
        Some(element) => {
            Err(SelectError::Isolation { pod: pod.namespace.clone(), target: element.namespace.clone() })
        }
        None => Ok(Wanted { default, networks }),
    }
}

/// The default networks of the configuration, which pods of system namespaces do not get.
fn extra_networks<'c>(config: &'c Config, pod: Option<&PodInfo>) -> &'c [String] {
    let namespace = pod.map_or("", |pod| &pod.namespace);
    if config.cluster_network.is_empty() || config.system_namespaces.iter().any(|name| name == namespace) {
        return &[];
    }
    &config.default_networks
}

fn configured(
    config: &Config,
    has_cluster: bool,
    pod: Option<&PodInfo>,
    nads: &Nads,
) -> Result<Vec<DelegateConf>, SelectError> {
    if config.cluster_network.is_empty() {
        return Ok(config.delegates.clone());
    }
    let mut list = vec![cluster_network(config, has_cluster, nads)?];
    for name in extra_networks(config, pod) {
        let found = cluster_network::find(config, nads, name);
        list.push(found.map_err(|source| SelectError::DefaultNetwork {
            name: name.clone(),
            namespace: config.multus_namespace.clone(),
            source: Box::new(source),
        })?);
    }
    Ok(list)
}

fn cluster_network(config: &Config, has_cluster: bool, nads: &Nads) -> Result<DelegateConf, SelectError> {
    if !has_cluster {
        return Err(SelectError::NoCluster);
    }
    cluster_network::find(config, nads, &config.cluster_network).map_err(|source| {
        SelectError::ClusterNetwork {
            name: config.cluster_network.clone(),
            namespace: config.multus_namespace.clone(),
            source: Box::new(source),
        }
    })
}

fn of_the_pod(config: &Config, nads: &Nads, element: &SelectionElement) -> Result<DelegateConf, SelectError> {
    Ok(DelegateConf { origin: Some(Origin::Selected), ..selected(config, nads, element)? })
}

fn selected(config: &Config, nads: &Nads, element: &SelectionElement) -> Result<DelegateConf, SelectError> {
    let delegate = nads.delegate(config, &element.namespace, &element.name)?;
    delegate.selected(element).map_err(|source| SelectError::Unusable {
        name: element.name.clone(),
        namespace: element.namespace.clone(),
        source: Box::new(source.into()),
    })
}

#[cfg(test)]
mod tests;
