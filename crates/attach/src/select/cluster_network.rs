//! The networks that the configuration names: `clusterNetwork` and `defaultNetworks` (spec/multus.md 5.2).

use std::path::Path;

use super::{Nads, SelectError, conf_dir};
use crate::config::Config;
use crate::delegate_conf::DelegateConf;

/// Finds a network by NAD name, then CNI name; or, if it is a path, in a directory or a file.
pub(super) fn find(config: &Config, nads: &Nads, name: &str) -> Result<DelegateConf, SelectError> {
    let path = Path::new(name);
    if !name.contains('/') {
        return by_name(config, nads, name);
    }
    if path.is_dir() {
        return conf_dir::first(path);
    }
    Ok(DelegateConf::from_file(path)?)
}

/// When neither a NAD nor a file has the name, the NAD is what the user should know about, unless it is there and broken.
fn by_name(config: &Config, nads: &Nads, name: &str) -> Result<DelegateConf, SelectError> {
    nads.delegate(config, &config.multus_namespace, name)
        .or_else(|nad| conf_dir::by_name(&config.conf_dir, name).map_err(|_| nad))
}
