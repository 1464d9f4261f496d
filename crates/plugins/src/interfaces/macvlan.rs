//! `macvlan`: a station of its own on the wire of a parent link (spec/plugins.md 1.2).

use polynic_cni::Error;
use polynic_net::{Entropy, Link, LinkFact, LinkKind, Macvlan as MacvlanKind, MacvlanMode};
use serde::Deserialize;

use super::station::{Parent, Station, StationAttachment, bounded_mtu, required};
use crate::mac::{self, Sources};
use crate::{Attacher, Attachment, Call};

/// The plugin.
pub struct Macvlan;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    master: String,
    mode: String,
    mtu: i64,
    #[serde(rename = "linkInContainer")]
    link_in_container: bool,
    bcqueuelen: u32,
}

struct MacvlanStation {
    parent: Parent,
    mode: MacvlanMode,
    /// 0: the parent's.
    mtu: i64,
    bc_queue_len: Option<u32>,
}

impl Attacher for Macvlan {
    fn plugin_type(&self) -> &'static str {
        "macvlan"
    }

    fn read(&self, call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        let config: Config = call.conf.read()?;
        Ok(Box::new(StationAttachment(MacvlanStation {
            parent: Parent::read(call, &config.master, config.link_in_container)?,
            mode: mode(&config.mode)
                .ok_or_else(|| call.error(format!("unknown macvlan mode: {:?}", config.mode)))?,
            mtu: config.mtu,
            bc_queue_len: (config.bcqueuelen != 0).then_some(config.bcqueuelen),
        })))
    }
}

fn mode(name: &str) -> Option<MacvlanMode> {
    match name {
        "" | "bridge" => Some(MacvlanMode::Bridge),
        "private" => Some(MacvlanMode::Private),
        "vepa" => Some(MacvlanMode::Vepa),
        "passthru" => Some(MacvlanMode::Passthru),
        _ => None,
    }
}

impl Station for MacvlanStation {
    fn kind(&self) -> &'static str {
        "macvlan"
    }

    fn parent(&self) -> Option<&Parent> {
        Some(&self.parent)
    }

    fn link(&self, call: &Call<'_>, parent: Option<&LinkFact>, entropy: &mut Entropy) -> Result<Link, Error> {
        let parent = required(call, parent)?;
        let requested = mac::requested(call, Sources { config_key: true, cni_args_object: false })?;
        // A passthru station takes over its parent's address (drivers/net/macvlan.c, macvlan_common_newlink).
        let chosen = match self.mode {
            MacvlanMode::Passthru => parent.mac,
            _ => Some(entropy.mac()),
        };
        let kind = LinkKind::Macvlan(MacvlanKind {
            parent: self.parent.reference(parent),
            mode: self.mode,
            bc_queue_len: self.bc_queue_len,
        });
        let mtu = bounded_mtu(call, self.mtu, parent)?;
        Ok(Link { name: call.ifname.clone(), kind, mac: requested.or(chosen), mtu })
    }

    fn check(&self, call: &Call<'_>, link: &LinkFact) -> Result<(), Error> {
        match link.macvlan_mode == Some(self.mode) {
            true => Ok(()),
            false => Err(call.error(format!(
                "container macvlan mode {:?} does not match {:?}",
                link.macvlan_mode, self.mode
            ))),
        }
    }
}
