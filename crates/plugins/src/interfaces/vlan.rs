//! `vlan`: what a parent link receives with one VLAN's tag (spec/plugins.md 1.6).

use polynic_cni::Error;
use polynic_net::{Entropy, Link, LinkFact, LinkKind, Vlan as VlanKind};
use serde::Deserialize;

use super::station::{Addresses, Parent, Station, StationAttachment, bounded_mtu, required};
use crate::addressing::Announce;
use crate::{Attacher, Attachment, Call};

/// The plugin.
pub struct Vlan;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    master: String,
    vlan_id: i64,
    mtu: i64,
    link_in_container: bool,
}

struct VlanStation {
    parent: Parent,
    id: u16,
    /// 0: the parent's.
    mtu: i64,
}

impl Attacher for Vlan {
    fn plugin_type(&self) -> &'static str {
        "vlan"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let config: Config = call.conf.read()?;
        if config.master.is_empty() {
            return Err(call.error(
                "\"master\" field is required. It specifies the host interface name to create the VLAN for",
            ));
        }
        let id = u16::try_from(config.vlan_id).ok().filter(|id| *id < 4095).ok_or_else(|| {
            call.error(format!("invalid VLAN ID {} (must be between 0 and 4095 inclusive)", config.vlan_id))
        })?;
        let parent = Parent::read(call, &config.master, config.link_in_container)?;
        Ok(Box::new(StationAttachment(VlanStation { parent, id, mtu: config.mtu })))
    }
}

impl Station for VlanStation {
    fn kind(&self) -> &'static str {
        "vlan"
    }

    fn parent(&self) -> Option<&Parent> {
        Some(&self.parent)
    }

    fn addresses(&self) -> Addresses {
        Addresses::Required("no plugin name provided")
    }

    fn announce(&self) -> Announce {
        Announce::No
    }

    fn link(
        &self,
        call: &Call<'_>,
        parent: Option<&LinkFact>,
        _entropy: &mut Entropy,
    ) -> Result<Link, Error> {
        let parent = required(call, parent)?;
        let kind = LinkKind::Vlan(VlanKind { parent: self.parent.reference(parent), id: self.id });
        let mtu = bounded_mtu(call, self.mtu, parent)?;
        // The address starts as the parent's (net/8021q/vlan_dev.c, vlan_dev_init).
        Ok(Link { name: call.ifname.clone(), kind, mac: parent.mac, mtu })
    }

    fn check(&self, call: &Call<'_>, link: &LinkFact) -> Result<(), Error> {
        if link.vlan_id != Some(self.id) {
            return Err(call.error(format!(
                "Error: Tuning link {} configured promisc is {:?}, current value is {}",
                call.ifname, link.vlan_id, self.id
            )));
        }
        match u32::try_from(self.mtu) {
            Ok(mtu) if mtu != 0 && mtu != link.mtu => Err(call.error(format!(
                "Error: Tuning configured MTU of {} is {mtu}, current value is {}",
                call.ifname, link.mtu
            ))),
            _ => Ok(()),
        }
    }
}
