//! What a client says in each state (RFC 2131, table 4 and section 4.3.6).

use std::net::Ipv4Addr;

use super::{Exchange, Held, Identity, State};
use crate::Time;
use crate::frame::Destination;
use crate::lease::Lease;
use crate::message::{Kind, Message};
use crate::options::code;

/// The longest message that we take, in bytes.
const LONGEST: u16 = 1500;
/// The type of a client identifier that is no hardware address.
const OPAQUE: u8 = 0;

/// The message of the current exchange; none without one.
pub(super) fn question(
    who: &Identity,
    state: &State,
    held: Option<&Held>,
    now: Time,
) -> Option<(Message, Destination)> {
    let exchange = state.exchange()?;
    let kind = if matches!(state, State::Selecting(_)) { Kind::Discover } else { Kind::Request };
    let mut message = begin(who, kind, exchange, now);
    let mut to = Destination::ALL;
    match state {
        State::Requesting(_, offer) => {
            address(&mut message, code::REQUESTED_ADDRESS, offer.address);
            address(&mut message, code::SERVER, offer.server);
        }
        State::Rebooting(_, wanted) => address(&mut message, code::REQUESTED_ADDRESS, *wanted),
        State::Renewing(_) | State::Rebinding(_) => {
            let lease = &held?.lease;
            // The interface has its address: answers find it.
            message.ciaddr = lease.address.addr();
            message.broadcast = false;
            if matches!(state, State::Renewing(_)) {
                to = Destination { mac: lease.server_mac, ip: lease.server };
            }
        }
        _ => {}
    }
    Some((message, to))
}

/// The message that gives a lease back.
pub(super) fn release(who: &Identity, xid: u32, lease: &Lease) -> (Message, Destination) {
    let mut message = Message::request(Kind::Release, xid, who.mac);
    message.ciaddr = lease.address.addr();
    identify(&mut message, who);
    address(&mut message, code::SERVER, lease.server);
    (message, Destination { mac: lease.server_mac, ip: lease.server })
}

fn begin(who: &Identity, kind: Kind, exchange: &Exchange, now: Time) -> Message {
    let mut message = Message::request(kind, exchange.xid, who.mac);
    message.secs = u16::try_from(now.saturating_sub(exchange.began).as_secs()).unwrap_or(u16::MAX);
    message.broadcast = who.broadcast;
    message.options.set(code::LONGEST, LONGEST.to_be_bytes().to_vec());
    message.options.set(code::PARAMETERS, who.wishes.request.clone());
    identify(&mut message, who);
    message
}

/// Who the client is, and what the configuration wants said; that may be another identity.
fn identify(message: &mut Message, who: &Identity) {
    message.options.set(code::CLIENT, [&[OPAQUE], who.client_id.as_bytes()].concat());
    for (code, value) in &who.wishes.provide {
        message.options.set(*code, value.clone());
    }
}

fn address(message: &mut Message, code: u8, address: Ipv4Addr) {
    message.options.set(code, address.octets().to_vec());
}
