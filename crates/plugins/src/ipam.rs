//! IPAM plugins: each hands out addresses and touches no kernel object.

pub mod host_local;
pub mod static_addresses;

use polynic_cni::{Error, Invocation, Output, PluginConf, Verb, Version};

use crate::Context;

/// An IPAM plugin.
pub trait Ipam: Send + Sync {
    /// Its type.
    fn plugin_type(&self) -> &'static str;

    /// The protocol versions it accepts.
    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    /// Serves a call.
    fn call(
        &self,
        context: &Context<'_>,
        verb: Verb,
        invocation: &Invocation,
        conf: &PluginConf,
    ) -> Result<Output, Error>;
}

/// Every built-in IPAM plugin.
pub const ALL: [&dyn Ipam; 2] = [&host_local::HostLocal, &static_addresses::Static];
