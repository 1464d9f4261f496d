//! What every built-in plugin is to those who call it.

use polynic_cni::{Error, Invocation, Output, PluginConf, Verb, Version};

use crate::Context;

/// A plugin that answers its calls by itself: an IPAM plugin, one that hands on to a delegate, one that makes links of the node. Main and
/// chained plugins fill a template instead, and [`drive`](crate::drive) answers for them.
pub trait Plugin: Send + Sync {
    /// Its type.
    fn plugin_type(&self) -> &'static str;

    /// The protocol versions it accepts.
    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    /// Serves a call.
    ///
    /// # Errors
    /// Its own, with whom it happened to in the details; a delegate's with their code kept.
    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error>;
}
