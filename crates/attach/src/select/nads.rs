//! The NADs of one call: asked for at once, then looked up (spec/multus.md 5.3).

use polynic_api::NetworkAttachmentDefinition;

use super::{SelectError, Wanted, conf_dir};
use crate::cluster::{Cluster, NadError, NadRef};
use crate::config::Config;
use crate::delegate_conf::DelegateConf;

/// What the API server answered.
pub(super) struct Nads(Vec<(NadRef, Result<NetworkAttachmentDefinition, NadError>)>);

/// Every NAD that a call may need, once.
pub(super) fn wanted(config: &Config, wanted: &Wanted, extra: &[String]) -> Vec<NadRef> {
    let configured = std::iter::once(&config.cluster_network).chain(extra);
    let configured = configured.filter(|name| !name.is_empty() && !name.contains('/'));
    let configured =
        configured.map(|name| NadRef { namespace: config.multus_namespace.clone(), name: name.clone() });
    let selected = wanted.default.iter().chain(&wanted.networks);
    let selected =
        selected.map(|element| NadRef { namespace: element.namespace.clone(), name: element.name.clone() });
    let mut all: Vec<NadRef> = Vec::new();
    for nad in configured.chain(selected) {
        if !nad.name.is_empty() && !all.contains(&nad) {
            all.push(nad);
        }
    }
    all
}

impl Nads {
    pub(super) fn read(cluster: Option<&dyn Cluster>, wanted: Vec<NadRef>) -> Nads {
        let Some(cluster) = cluster.filter(|_| !wanted.is_empty()) else { return Nads(Vec::new()) };
        let answers = cluster.nads(&wanted);
        Nads(wanted.into_iter().zip(answers).collect())
    }

    /// The delegate that a NAD describes.
    pub(super) fn delegate(
        &self,
        config: &Config,
        namespace: &str,
        name: &str,
    ) -> Result<DelegateConf, SelectError> {
        let nad = self.get(namespace, name).map_err(|cause| SelectError::Nad {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            cause,
        })?;
        let display_name = format!("{namespace}/{name}");
        usable(config, nad, name, display_name).map_err(|source| SelectError::Unusable {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            source: Box::new(source),
        })
    }

    fn get(&self, namespace: &str, name: &str) -> Result<&NetworkAttachmentDefinition, String> {
        if name.is_empty() {
            return Err("resource name may not be empty".to_owned());
        }
        let found = self.0.iter().find(|(nad, _)| nad.namespace == namespace && nad.name == name);
        let answer = found.map(|(_, answer)| answer.as_ref().map_err(NadError::to_string));
        answer.unwrap_or_else(|| Err("there is no API server to ask".to_owned()))
    }
}

fn usable(
    config: &Config,
    nad: &NetworkAttachmentDefinition,
    name: &str,
    display_name: String,
) -> Result<DelegateConf, SelectError> {
    let resource_name = nad.resource_name().unwrap_or_default().to_owned();
    if nad.spec.config.is_empty() {
        let delegate = conf_dir::by_name(&config.conf_dir, name)?;
        return Ok(DelegateConf { display_name, resource_name, ..delegate });
    }
    let delegate = DelegateConf::from_spec(&nad.spec.config, name, display_name)?;
    Ok(DelegateConf { resource_name, ..delegate })
}
