//! `CNI_ARGS` of the routing plugins (spec/coordinator.md 1.1).

use polynic_cni::{Error, args};

use crate::Call;

const KNOWN: [&str; 4] = ["K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];

/// Refuses what no plugin of this family knows, and answers the pod's namespace and name.
pub(super) fn pod(call: &Call<'_>) -> Result<(String, String), Error> {
    let args = args::parse(&call.invocation.args, &KNOWN)?;
    let get = |key| args.get(key).unwrap_or_default().to_owned();
    Ok((get("K8S_POD_NAMESPACE"), get("K8S_POD_NAME")))
}
