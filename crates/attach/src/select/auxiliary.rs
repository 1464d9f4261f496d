//! The auxiliary chain: plugins beside the cluster network's file, run last for every pod (spec/multus.md 5.5).

use std::fs;
use std::path::{Path, PathBuf};

use polynic_cni::conflist::LoadError;
use polynic_cni::{ConfList, PluginEntry, names};
use serde_json::json;

use super::SelectError;
use crate::config::Config;
use crate::delegate_conf::{DelegateConf, DelegateError, Origin};

/// The chain, if there is at least one file for it.
pub(super) fn chain(config: &Config) -> Result<Option<DelegateConf>, SelectError> {
    let name = &config.auxiliary_chain;
    if name.is_empty() {
        return Ok(None);
    }
    let directory = config.cluster_network_dir().ok_or(SelectError::AuxiliaryWithoutPath)?;
    names::network_name(name).map_err(|_| SelectError::AuxiliaryName(name.clone()))?;
    let beside = plugins(&directory.join(name)).map_err(DelegateError::from)?;
    if beside.is_empty() {
        return Ok(None);
    }
    let start = json!({"cniVersion": config.cni_version, "name": name, "plugins": [{"type": "passthru"}]});
    let mut list = ConfList::parse(start.to_string().as_bytes()).map_err(DelegateError::from)?;
    list.plugins.extend(beside);
    let origin = Some(Origin::Configured);
    Ok(Some(DelegateConf { is_auxiliary: true, origin, ..DelegateConf::merged(list) }))
}

fn plugins(directory: &Path) -> Result<Vec<PluginEntry>, LoadError> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_plugin =
        |file: &PathBuf| file.extension().is_some_and(|extension| extension == "conf") && !file.is_dir();
    let mut files: Vec<PathBuf> = entries.filter(is_plugin).collect();
    files.sort();
    files.iter().map(|file| plugin(file)).collect()
}

fn plugin(file: &Path) -> Result<PluginEntry, LoadError> {
    let bytes = fs::read(file).map_err(|source| LoadError::Read { path: file.to_owned(), source })?;
    PluginEntry::parse(&bytes)
        .map_err(|source| LoadError::File { path: file.to_owned(), source: Box::new(source) })
}
