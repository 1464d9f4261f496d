//! `dummy`: a link that goes nowhere, to hold addresses (spec/plugins.md 1.8).

use polynic_cni::Error;
use polynic_net::{Entropy, Link, LinkFact, LinkKind};

use super::station::{Addresses, DnsOf, Station, StationAttachment};
use crate::addressing::Announce;
use crate::{Attacher, Attachment, Call};

/// The plugin.
pub struct Dummy;

struct DummyStation;

impl Attacher for Dummy {
    fn plugin_type(&self) -> &'static str {
        "dummy"
    }

    fn read(&self, _call: &Call<'_>) -> Result<Box<dyn Attachment>, Error> {
        Ok(Box::new(StationAttachment(DummyStation)))
    }
}

impl Station for DummyStation {
    fn kind(&self) -> &'static str {
        "dummy"
    }

    fn addresses(&self) -> Addresses {
        Addresses::Required("dummy interface requires an IPAM configuration")
    }

    fn dns(&self) -> DnsOf {
        DnsOf::Ipam
    }

    fn announce(&self) -> Announce {
        Announce::No
    }

    fn link(
        &self,
        call: &Call<'_>,
        _parent: Option<&LinkFact>,
        entropy: &mut Entropy,
    ) -> Result<Link, Error> {
        Ok(Link { mac: Some(entropy.mac()), ..Link::new(call.ifname.clone(), LinkKind::Dummy) })
    }

    fn check(&self, call: &Call<'_>, link: &LinkFact) -> Result<(), Error> {
        match link.up {
            true => Ok(()),
            false => Err(call.error(format!("Interface {} is down", call.ifname))),
        }
    }
}
