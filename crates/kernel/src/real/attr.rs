//! Changing one attribute of a link that exists.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use polynic_net::{Attr, AttrChange, IfName, LinkFact, Mac};

use super::Failure;
use super::space::Space;
use crate::Errno;
use crate::netlink::Fault;

impl Space {
    pub(super) fn change_attr(&mut self, change: &AttrChange) -> Result<(), Failure> {
        // Bringing a link up is the step of every attachment, and doing it twice is harmless: no question asked.
        if change.after == Attr::Up(true) {
            return Ok(self.set_attr(named(&change.link), &change.after)?);
        }
        if let Attr::Vf { index, attr } = &change.after {
            return self.change_vf(&change.link, *index, attr);
        }
        let link = self.link(&change.link)?;
        let now = self.attr_of(&link, &change.before)?;
        if now != change.before && !change.unsteady {
            return Err(Failure::Stale(format!("{now:?}")));
        }
        // Setting a link's own MAC says that it is to keep it: a bridge would take over that of a port (net/bridge/br_stp_if.c,
        // br_stp_recalculate_bridge_id).
        if now == change.after && (change.unsteady || !matches!(now, Attr::Mac(_))) {
            return Ok(());
        }
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        match &change.after {
            Attr::Mac(mac) if change.unsteady => self.insist_on_mac(&message, *mac),
            after => Ok(self.set_attr(message, after)?),
        }
    }

    /// The value that a link has of the same attribute as `like`.
    fn attr_of(&mut self, link: &LinkFact, like: &Attr) -> Result<Attr, Fault> {
        Ok(match like {
            Attr::Up(_) => Attr::Up(link.up),
            Attr::Mtu(_) => Attr::Mtu(link.mtu),
            // A link without an address of six bytes has none that could be meant: it differs from all.
            Attr::Mac(wanted) => match link.mac {
                Some(mac) => Attr::Mac(mac),
                None => {
                    return Err(Fault::refused(
                        Errno::EOPNOTSUPP,
                        format!("no Ethernet link, so not {wanted}"),
                    ));
                }
            },
            Attr::Master(_) => Attr::Master(match link.master {
                Some(index) => Some(self.link_by_index(index)?.name),
                None => None,
            }),
            Attr::Promisc(_) => Attr::Promisc(link.promisc),
            Attr::AllMulti(_) => Attr::AllMulti(link.all_multicast),
            Attr::TxQueueLen(_) => Attr::TxQueueLen(link.tx_queue_len),
            Attr::Hairpin(_) => Attr::Hairpin(link.hairpin.unwrap_or_default()),
            Attr::Isolated(_) => Attr::Isolated(link.isolated.unwrap_or_default()),
            Attr::Alias(_) => Attr::Alias(link.alias.clone().unwrap_or_default()),
            Attr::Vf { .. } => like.clone(),
        })
    }

    /// A virtual function's driver asks the physical one, which may take its time (spec/sriov.md 4).
    fn insist_on_mac(&mut self, message: &LinkMessage, mac: Mac) -> Result<(), Failure> {
        let held = self.insist(|space| {
            space.set_attr(message.clone(), &Attr::Mac(mac))?;
            Ok(space.link_by_index(message.header.index)?.mac == Some(mac))
        })?;
        let waited = || Failure::Waited(format!("the link does not take the address {mac}"));
        if held { Ok(()) } else { Err(waited()) }
    }

    fn set_attr(&mut self, mut message: LinkMessage, attr: &Attr) -> Result<(), Fault> {
        match attr {
            Attr::Up(on) => set_flag(&mut message, LinkFlags::Up, *on),
            Attr::Promisc(on) => set_flag(&mut message, LinkFlags::Promisc, *on),
            Attr::AllMulti(on) => set_flag(&mut message, LinkFlags::Allmulti, *on),
            attr => {
                let attribute = self.attribute(attr)?;
                message.attributes.extend(attribute);
            }
        }
        self.route.change(RouteNetlinkMessage::NewLink(message), 0)
    }

    fn attribute(&mut self, attr: &Attr) -> Result<Option<LinkAttribute>, Fault> {
        Ok(Some(match attr {
            Attr::Mtu(mtu) => LinkAttribute::Mtu(*mtu),
            Attr::Mac(mac) => LinkAttribute::Address(mac.0.to_vec()),
            Attr::Master(None) => LinkAttribute::Controller(0),
            Attr::Master(Some(master)) => LinkAttribute::Controller(self.link(master)?.index),
            Attr::TxQueueLen(length) => LinkAttribute::TxQueueLen(*length),
            Attr::Hairpin(on) => port(InfoBridgePort::HairpinMode(*on)),
            Attr::Isolated(on) => port(InfoBridgePort::Isolated(*on)),
            Attr::Alias(alias) => LinkAttribute::IfAlias(alias.clone()),
            // These are flags of the message's header, and what has a message of its own.
            Attr::Up(_) | Attr::Promisc(_) | Attr::AllMulti(_) | Attr::Vf { .. } => return Ok(None),
        }))
    }
}

fn named(link: &IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(link.to_string()));
    message
}

/// The mask says which flags are meant; all others stay as they are.
fn set_flag(message: &mut LinkMessage, flag: LinkFlags, on: bool) {
    message.header.change_mask = flag;
    message.header.flags = if on { flag } else { LinkFlags::empty() };
}

fn port(setting: InfoBridgePort) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![setting])),
    ])
}
