//! `ipvlan`: a station that shares its parent's hardware address (spec/plugins.md 1.3).

use polynic_cni::{Error, Success};
use polynic_net::{Entropy, Ipvlan as IpvlanKind, IpvlanMode, Link, LinkFact, LinkKind};
use serde::Deserialize;

use super::station::{Addresses, Parent, Station, StationAttachment, required};
use crate::{Attacher, Attachment, Call};

/// The plugin.
pub struct Ipvlan;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    master: String,
    mode: String,
    mtu: u32,
    #[serde(rename = "linkInContainer")]
    link_in_container: bool,
}

struct IpvlanStation {
    parent: Parent,
    mode: IpvlanMode,
    mtu: Option<u32>,
    /// The previous plugin's addresses, which are used where no IPAM plugin is named.
    given: Option<Success>,
}

impl Attacher for Ipvlan {
    fn plugin_type(&self) -> &'static str {
        "ipvlan"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let config: Config = call.conf.read()?;
        let prev = call.conf.prev_result()?;
        let master = master(call, &config.master, prev.as_ref())?;
        let given = prev.filter(|prev| call.conf.ipam_type.is_empty() && !prev.ips.is_empty());
        Ok(Box::new(StationAttachment(IpvlanStation {
            parent: Parent::read(call, &master, config.link_in_container)?,
            mode: mode(&config.mode)
                .ok_or_else(|| call.error(format!("unknown ipvlan mode: {:?}", config.mode)))?,
            mtu: (config.mtu != 0).then_some(config.mtu),
            given,
        })))
    }
}

/// In a chain the parent is what the plugin before made. At CHECK and DEL prevResult is this plugin's own result, whose one
/// interface is the station: it says nothing of the parent.
fn master(call: &Call<'_>, configured: &str, prev: Option<&Success>) -> Result<String, Error> {
    let Some(prev) = prev.filter(|_| configured.is_empty()) else { return Ok(configured.to_owned()) };
    match prev.interfaces.as_slice() {
        [one] if one.name == call.ifname.as_str() && one.sandbox == call.invocation.netns => {
            Ok(String::new())
        }
        [one] if !one.name.is_empty() => Ok(one.name.clone()),
        _ => Err(call.error("chained master failure. PrevResult lacks a single named interface")),
    }
}

fn mode(name: &str) -> Option<IpvlanMode> {
    match name {
        "" | "l2" => Some(IpvlanMode::L2),
        "l3" => Some(IpvlanMode::L3),
        "l3s" => Some(IpvlanMode::L3s),
        _ => None,
    }
}

impl Station for IpvlanStation {
    fn kind(&self) -> &'static str {
        "ipvlan"
    }

    fn parent(&self) -> Option<&Parent> {
        Some(&self.parent)
    }

    fn addresses(&self) -> Addresses {
        match self.given {
            Some(_) => Addresses::Optional,
            None => Addresses::Required("no plugin name provided"),
        }
    }

    fn given(&self, _call: &Call<'_>) -> Result<Option<Success>, Error> {
        Ok(self.given.clone())
    }

    fn link(
        &self,
        call: &Call<'_>,
        parent: Option<&LinkFact>,
        _entropy: &mut Entropy,
    ) -> Result<Link, Error> {
        let parent = required(call, parent)?;
        let kind = LinkKind::Ipvlan(IpvlanKind { parent: self.parent.reference(parent), mode: self.mode });
        // The address is the parent's (drivers/net/ipvlan/ipvlan_main.c, ipvlan_link_new).
        Ok(Link { name: call.ifname.clone(), kind, mac: parent.mac, mtu: self.mtu })
    }

    fn check(&self, call: &Call<'_>, link: &LinkFact) -> Result<(), Error> {
        match link.ipvlan_mode == Some(self.mode) {
            true => Ok(()),
            false => Err(call.error(format!(
                "container IPVlan mode {:?} does not match {:?}",
                link.ipvlan_mode, self.mode
            ))),
        }
    }
}
