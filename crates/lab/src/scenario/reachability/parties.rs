//! Where the parties are, and at which addresses they are asked.

use std::net::IpAddr;

use super::super::pools::{self, LAN};
use super::super::world::{Place, World};
use super::kinds::Party;
use super::{OTHER, PLAIN};
use crate::registry::OUTSIDE;

/// The places of all parties, in their order.
pub fn places(node: &str) -> [Place<'_>; Party::ALL.len()] {
    Party::ALL.map(|party| match party {
        Party::Node => Place::Host(node),
        Party::Lan => Place::Host(LAN),
        Party::Outside => Place::Host(OUTSIDE),
        Party::Plain => Place::Pod(PLAIN),
        Party::Other => Place::Pod(OTHER),
    })
}

/// The addresses at which a party is asked, IPv4 first.
pub fn addresses(world: &World, party: Party, place: Place<'_>) -> Result<[IpAddr; 2], String> {
    match (party, place) {
        (Party::Node, Place::Host(node)) => world.node_addresses(node),
        (_, Place::Host(host)) => world.host_addresses(host),
        (Party::Other, Place::Pod(pod)) => pools::addresses(world, pod, "net1"),
        (_, Place::Pod(pod)) => pools::addresses(world, pod, "eth0"),
    }
}

/// The name of the Service that leads to a party.
pub fn service(party: Party) -> &'static str {
    match party {
        Party::Node => "node",
        Party::Lan => LAN,
        Party::Outside => OUTSIDE,
        Party::Plain => PLAIN,
        Party::Other => OTHER,
    }
}
