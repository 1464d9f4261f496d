//! WireGuard links: keys, ports and peers.

use polynic_net::{Diff, IfName, Wireguard, WireguardFact, WireguardKey, WireguardOwn, WireguardPart};

use super::link::Wire;
use super::space::Space;
use super::world::Refusal;
use crate::Errno;

impl Space {
    /// As the real kernel: a peer is put, whatever it was, and takes over networks of others; one that is not there can be removed.
    pub(super) fn change_wireguard(&mut self, diff: &Diff<Wireguard>) -> Result<(), Refusal> {
        if let Some(before) = &diff.before {
            let fact = self.wireguard_mut(&before.link)?;
            match &before.part {
                WireguardPart::Own(_) => fact.own = WireguardOwn { secret: None, port: 0 },
                WireguardPart::Peer(gone) => fact.peers.retain(|peer| peer.key != gone.key),
            }
        }
        if let Some(after) = &diff.after {
            let fact = self.wireguard_mut(&after.link)?;
            match &after.part {
                WireguardPart::Own(own) => fact.own = *own,
                WireguardPart::Peer(put) => {
                    fact.peers.retain(|peer| peer.key != put.key);
                    fact.peers.iter_mut().for_each(|p| p.allowed.retain(|net| !put.allowed.contains(net)));
                    fact.peers.push(put.clone());
                }
            }
            fact.key = fact.own.secret.map(|secret| public(*secret.bytes()));
        }
        Ok(())
    }

    pub(super) fn wireguard_of(&self, links: &[IfName]) -> Vec<WireguardFact> {
        links.iter().filter_map(|link| self.wireguard_fact(link)).collect()
    }

    fn wireguard_fact(&self, link: &IfName) -> Option<WireguardFact> {
        if self.link(link).ok()?.wire != Wire::Wireguard {
            return None;
        }
        let set = self.wireguard.iter().find(|fact| fact.link == *link).cloned();
        Some(set.unwrap_or_else(|| fresh(link)))
    }

    fn wireguard_mut(&mut self, link: &IfName) -> Result<&mut WireguardFact, Refusal> {
        if self.link(link)?.wire != Wire::Wireguard {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let at = self.wireguard.iter().position(|fact| fact.link == *link).unwrap_or_else(|| {
            self.wireguard.push(fresh(link));
            self.wireguard.len() - 1
        });
        Ok(&mut self.wireguard[at])
    }
}

fn fresh(link: &IfName) -> WireguardFact {
    let own = WireguardOwn { secret: None, port: 0 };
    WireguardFact { link: link.clone(), own, key: None, peers: Vec::new() }
}

/// Not Curve25519, but another one for each: that is all that is looked at here.
fn public(mut secret: [u8; 32]) -> WireguardKey {
    secret.reverse();
    WireguardKey(secret)
}
