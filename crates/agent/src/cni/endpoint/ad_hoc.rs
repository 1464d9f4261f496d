//! `/delegate`: one network of a running pod, as hot-plug controllers ask for it (spec/multus.md 13.6).

use polynic_api::SelectionElement;
use polynic_attach::{DelegateConf, one};
use polynic_cni::{Invocation, Verb, Version};
use polynic_wire::multus::{CniRequest, InterfaceAttributes};
use serde_json::{Value, json};

use super::{Endpoint, Refusal, cause, refusal};
use crate::cni::Config;
use crate::cni::request::{self, Prepared, Surrounding};

/// A checked request.
pub(crate) struct AdHoc {
    pub(crate) call: Prepared,
    pub(crate) delegate: DelegateConf,
}

/// Checks a request. The network's configuration stays as it is; ours says where caches and plugins are.
pub(crate) fn prepare(request: &CniRequest, daemon: &Config, own: &Surrounding) -> Result<AdHoc, String> {
    let call = request::call(request, own, request.config.clone())?;
    if call.verb == Verb::Gc {
        return Err("unknown cmd type: GC".to_owned());
    }
    let delegate = DelegateConf::from_bytes(&request.config).map_err(|why| why.to_string())?;
    let element = element(request.attributes.clone().unwrap_or_default(), &call.invocation)?;
    let delegate = delegate.selected(&element).map_err(|why| why.to_string())?;
    let config = daemon.attach().map_err(|why| why.to_string())?;
    let call = Prepared { verb: call.verb, invocation: call.invocation, config, pod: call.pod };
    Ok(AdHoc { call, delegate })
}

fn element(attributes: InterfaceAttributes, invocation: &Invocation) -> Result<SelectionElement, String> {
    let InterfaceAttributes { ips, mac, cni_args } = attributes;
    // The same checks as for an annotation.
    let list = json!([{"name": "delegate", "interface": invocation.ifname, "ips": ips, "mac": mac,
                       "cni-args": cni_args}]);
    let parsed = polynic_api::selection::parse_networks(&list.to_string(), "default")
        .map_err(|why| why.to_string())?;
    parsed.into_iter().next().ok_or_else(|| "no interface attributes".to_owned())
}

impl Endpoint {
    pub(super) fn serve_one(&self, request: &AdHoc) -> Result<Option<Value>, (Refusal, &'static str)> {
        let AdHoc { call, delegate } = request;
        let (done, plugin_failed) = self.with_context(self.cluster(), &call.config, |context| {
            let network = one::Network { invocation: &call.invocation, config: &call.config, delegate };
            match call.verb {
                Verb::Add => one::add(context, network)?.to_value(Version::NEWEST).map(Some),
                Verb::Del => one::del(context, network).map(|()| None),
                Verb::Check => one::check(context, network).map(|()| None),
                _ => one::status(context, network).map(|()| None),
            }
        });
        done.map_err(|error| {
            tracing::error!(verb = %call.verb, pod = call.pod, %error, "a call for one network failed");
            let cause = cause(&error, plugin_failed);
            (refusal(error, &call.prefix()), cause)
        })
    }
}
