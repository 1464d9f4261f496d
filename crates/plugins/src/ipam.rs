//! IPAM plugins: each hands out addresses and touches no kernel object.

pub mod host_local;
pub mod spiderpool;
pub mod static_addresses;

use polynic_cni::{Error, GoMap, Invocation, JsonMap, Output, PluginConf, Route, Success, Verb, Version};
use serde_json::json;

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
pub const ALL: [&dyn Ipam; 3] = [&host_local::HostLocal, &static_addresses::Static, &spiderpool::Spiderpool];

/// `ipam.routes`. They have the form that routes have in results, so the reader of results reads them.
fn routes(ipam: &JsonMap) -> Result<Vec<Route>, Error> {
    let invalid = |why: String| Error::internal(format!("invalid ipam.routes: {why}"));
    let routes = GoMap(ipam).array("routes").map_err(|e| invalid(e.to_string()))?;
    let Some(routes) = routes else { return Ok(Vec::new()) };
    let result = json!({"cniVersion": "1.1.0", "routes": routes});
    Success::parse_as(Version::NEWEST, &result).map(|r| r.routes).map_err(|e| invalid(e.msg))
}
