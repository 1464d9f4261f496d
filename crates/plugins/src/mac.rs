//! Which hardware address an interface is asked to have (spec/plugins.md 0.5).

use polynic_cni::{Error, args};
use polynic_net::Mac;

use crate::Call;

/// Where a plugin looks besides `CNI_ARGS` and `runtimeConfig`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sources {
    /// The `mac` key of the configuration.
    pub(crate) config_key: bool,
    /// `args.cni.mac`.
    pub(crate) cni_args_object: bool,
}

/// The address asked for; later sources win: `mac` key, `CNI_ARGS` MAC, `args.cni.mac`, `runtimeConfig.mac`.
pub(crate) fn requested(call: &Call<'_>, sources: Sources) -> Result<Option<Mac>, Error> {
    let load = |e: polynic_cni::json::JsonError| call.error(format!("failed to load netconf: {e}"));
    let mut text = String::new();
    let mut take = |candidate: &str| {
        if !candidate.is_empty() {
            text = candidate.to_owned();
        }
    };
    if sources.config_key {
        take(call.conf.keys().string("mac").map_err(load)?);
    }
    take(args::parse(&call.invocation.args, &["MAC"])?.get("MAC").unwrap_or_default());
    if sources.cni_args_object
        && let Some(object) = call.conf.args_cni()
    {
        take(polynic_cni::GoMap(object).string("mac").map_err(load)?);
    }
    take(call.runtime_config().string("mac").map_err(load)?);
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|e: polynic_net::MacError| call.error(e))
}
