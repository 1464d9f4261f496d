//! IPAM plugins: each hands out addresses and touches no kernel object.

pub mod dhcp;
pub mod host_local;
pub mod spiderpool;
pub mod static_addresses;
pub mod whereabouts;

use polynic_cni::{Error, GoMap, JsonMap, Route, Success, Version};
use polynic_kernel::Kernel;
use serde_json::json;

use crate::{Call, Context, Plugin};

/// An IPAM plugin.
pub trait Ipam: Plugin {
    /// Whether [`Ipam::settle`] has something to do for the interface.
    fn has_to_settle(&self, _: &Context<'_>, _: &Call<'_>) -> bool {
        false
    }

    /// What is left to do when the interface is up with the addresses of the last ADD, before the main plugin answers. On an error everything
    /// is taken back.
    fn settle(&self, _: &Context<'_>, _: &Call<'_>, _: &mut dyn Kernel) -> Result<(), Error> {
        Ok(())
    }
}

/// [`Ipam::settle`] of a built-in IPAM plugin; nothing for others.
pub(crate) fn settle(
    context: &Context<'_>,
    call: &Call<'_>,
    ipam_type: &str,
    kernel: &mut dyn Kernel,
) -> Result<(), Error> {
    builtin(ipam_type).map_or(Ok(()), |plugin| plugin.settle(context, call, kernel))
}

/// [`Ipam::has_to_settle`] of a built-in IPAM plugin.
pub(crate) fn has_to_settle(context: &Context<'_>, call: &Call<'_>, ipam_type: &str) -> bool {
    builtin(ipam_type).is_some_and(|plugin| plugin.has_to_settle(context, call))
}

fn builtin(ipam_type: &str) -> Option<&'static dyn Ipam> {
    ALL.into_iter().find(|plugin| plugin.plugin_type() == ipam_type)
}

/// Every built-in IPAM plugin.
pub const ALL: [&dyn Ipam; 5] = [
    &dhcp::Dhcp,
    &host_local::HostLocal,
    &static_addresses::Static,
    &spiderpool::Spiderpool,
    &whereabouts::Whereabouts { directories: whereabouts::DIRECTORIES },
];

/// Whether an IPAM plugin, ours or somebody else's of the same name, works on the interface itself, which must be there first.
pub(crate) fn works_on_link(ipam_type: &str) -> bool {
    ipam_type == dhcp::TYPE
}

/// `ipam.routes`. They have the form that routes have in results, so the reader of results reads them.
fn routes(ipam: &JsonMap) -> Result<Vec<Route>, Error> {
    let invalid = |why: String| Error::internal(format!("invalid ipam.routes: {why}"));
    let routes = GoMap(ipam).array("routes").map_err(|e| invalid(e.to_string()))?;
    let Some(routes) = routes else { return Ok(Vec::new()) };
    let result = json!({"cniVersion": "1.1.0", "routes": routes});
    Success::parse_as(Version::NEWEST, &result).map(|r| r.routes).map_err(|e| invalid(e.msg))
}
