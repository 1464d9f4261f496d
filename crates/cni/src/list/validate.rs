//! Validation of a list before it is used (spec/cni.md 5.6).

use std::collections::BTreeSet;

use super::{Runtime, gc::join};
use crate::conflist::{ConfList, PluginEntry};
use crate::delegate::Output;
use crate::error::Error;
use crate::quote::go_quote;
use crate::verb::Verb;

impl Runtime<'_> {
    /// Every plugin can be found and speaks the list's version. Answers the capabilities that any plugin has
    /// enabled; the errors of all plugins come joined by newlines.
    pub fn validate_list(&self, list: &ConfList) -> Result<BTreeSet<String>, Error> {
        let version = if list.cni_version.is_empty() { "0.1.0" } else { &list.cni_version };
        let check = |plugin: &PluginEntry| self.validate_plugin(&plugin.plugin_type, version).err();
        join(list.plugins.iter().filter_map(check).collect())?;
        let capabilities = list.plugins.iter().flat_map(|plugin| &plugin.capabilities);
        Ok(capabilities.filter(|(_, on)| **on).map(|(name, _)| name.clone()).collect())
    }

    fn validate_plugin(&self, plugin_type: &str, version: &str) -> Result<(), Error> {
        self.delegate.find(plugin_type, &self.path)?;
        let answer = self.delegate.call(plugin_type, Verb::Version, &self.invocation(Vec::new()))?;
        match answer {
            Output::Version(info) if info.supports(version) => Ok(()),
            _ => {
                let version = go_quote(version);
                Err(Error::internal(format!(
                    "plugin {plugin_type} does not support config version {version}"
                )))
            }
        }
    }
}
