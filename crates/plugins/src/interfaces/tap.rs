//! `tap`: a persistent tap device in the pod, for virtual machines (spec/plugins.md 1.9).

use polynic_cni::Error;
use polynic_net::{
    Attr, Change, Entropy, Facts, IfName, Link, LinkFact, LinkKind, Needs, Place, Plan, Tap as TapKind,
};
use serde::Deserialize;

use super::station::{Station, StationAttachment};
use crate::mac::{self, Sources};
use crate::{Attacher, Attachment, Call};

/// The plugin.
pub struct Tap;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    multi_queue: bool,
    mtu: u32,
    owner: Option<u32>,
    group: Option<u32>,
    selinux_context: String,
    bridge: String,
}

struct TapStation {
    options: TapKind,
    mtu: Option<u32>,
    /// A bridge in the pod that the device becomes a port of.
    bridge: Option<IfName>,
}

impl Attacher for Tap {
    fn plugin_type(&self) -> &'static str {
        "tap"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let config: Config = call.conf.read()?;
        if !config.selinux_context.is_empty() {
            // The label of a tap device is that of the process that makes it; ours does not change its own.
            return Err(call.error("selinuxContext is not supported"));
        }
        let bridge = match config.bridge.as_str() {
            "" => None,
            name => Some(IfName::new(name).map_err(|e| call.error(format!("invalid bridge {name:?}: {e}")))?),
        };
        Ok(Box::new(StationAttachment(TapStation {
            options: TapKind {
                owner: config.owner,
                group: config.group,
                multi_queue: config.multi_queue,
                // The tool that makes the device where owner or group are left open sets no virtio header.
                vnet_hdr: config.owner.is_some() && config.group.is_some(),
            },
            mtu: (config.mtu != 0).then_some(config.mtu),
            bridge,
        })))
    }
}

impl Station for TapStation {
    fn kind(&self) -> &'static str {
        "tun"
    }

    fn more_needs(&self, needs: &mut Needs) {
        if let Some(bridge) = &self.bridge {
            needs.pod.link(bridge);
        }
    }

    fn link(
        &self,
        call: &Call<'_>,
        _parent: Option<&LinkFact>,
        entropy: &mut Entropy,
    ) -> Result<Link, Error> {
        let requested = mac::requested(call, Sources { config_key: true, cni_args_object: false })?;
        let mac = requested.unwrap_or_else(|| entropy.mac());
        let kind = LinkKind::Tap(self.options.clone());
        Ok(Link { name: call.ifname.clone(), kind, mac: Some(mac), mtu: self.mtu })
    }

    fn dress(&self, call: &Call<'_>, facts: &Facts, plan: &mut Plan) -> Result<(), Error> {
        let Some(bridge) = &self.bridge else { return Ok(()) };
        if facts.link(Place::Pod, bridge).is_none() {
            return Err(
                call.error(format!("failed to find bridge {:?} in the pod: Link not found", bridge.as_str()))
            );
        }
        let join = Attr::Master(Some(bridge.clone()));
        plan.own(Change::attr(Place::Pod, &call.ifname, Attr::Master(None), join));
        Ok(())
    }

    /// Only addresses and routes are compared.
    fn check(&self, _call: &Call<'_>, _link: &LinkFact) -> Result<(), Error> {
        Ok(())
    }
}
