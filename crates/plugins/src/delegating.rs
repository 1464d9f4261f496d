//! Plugins that make the configuration of another one and hand the call on: meta plugins in the protocol's own sense.

use polynic_cni::{Error, Invocation, Output, PluginConf, Verb, Version};

use crate::{Context, meta};

/// A plugin whose whole work is done by a delegate.
pub trait DelegatingPlugin: Send + Sync {
    /// Its type.
    fn plugin_type(&self) -> &'static str;

    /// The protocol versions it accepts.
    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    /// Serves a call.
    ///
    /// # Errors
    /// Its own, code 999 with whom it happened to in the details; the delegate's with their code kept.
    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error>;
}

/// Every built-in plugin of this family.
pub const ALL: [&dyn DelegatingPlugin; 1] = [&meta::flannel::Flannel];
