//! The lease of one interface as a state machine (RFC 2131 section 4.4): packets and time in, packets and news out.
//!
//! It keeps no clock, no socket and no thread. [`Client::wake`] says when it wants to be called next.

use std::net::Ipv4Addr;
use std::time::Duration;

use polynic_net::{Entropy, Mac};

use crate::Time;
use crate::frame::Destination;
use crate::lease::{Lease, LeaseError};
use crate::message::{Kind, Message, Op};
use crate::options::code;
use crate::retry::{Retry, Timing, spread};
use crate::wishes::Wishes;

mod compose;

/// A message that got no answer is sent again after this, and then after twice as long (RFC 2131 section 4.1).
const FIRST_REPEAT: Duration = Duration::from_secs(4);
/// While a lease lasts, its server is not asked more often than this (RFC 2131 section 4.4.5).
const SHORTEST_REPEAT: Duration = Duration::from_secs(60);
/// After a restart the lease is confirmed soon, but not those of all pods at once.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// Who asks, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The interface's hardware address.
    pub mac: Mac,
    /// What the server knows the client by, without the type byte of option 61.
    pub client_id: String,
    /// Answers must be broadcast: the interface is not reached by its hardware address before it has an address.
    pub broadcast: bool,
    /// What the configuration asks for.
    pub wishes: Wishes,
}

/// What the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message came from this station.
    Received(Box<Message>, Mac),
    /// Time has passed; told at [`Client::wake`] or later.
    Woken,
}

/// What the client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A message is to be sent.
    Send(Message, Destination),
    /// There is a lease: the first one, the same for longer, or another.
    Leased(Lease),
    /// There is no lease any more; the client goes on trying to get one.
    Lost {
        /// The lease that ended.
        lease: Lease,
        /// Why.
        why: Loss,
    },
    /// The first lease could not be had. The client does nothing any more.
    GaveUp(String),
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its time is over.
    Expired,
    /// A server said that it is not ours.
    Refused,
}

/// A lease and since when it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The lease.
    pub lease: Lease,
    /// When the request for it was sent.
    pub since: Time,
}

impl Held {
    fn after(&self, seconds: u32) -> Option<Time> {
        (!self.lease.is_forever()).then(|| self.since + Duration::from_secs(seconds.into()))
    }

    /// When the server is asked for more.
    pub fn renew_at(&self) -> Option<Time> {
        self.after(self.lease.renew_after)
    }

    /// When every server is asked for more.
    pub fn rebind_at(&self) -> Option<Time> {
        self.after(self.lease.rebind_after)
    }

    /// When it ends.
    pub fn ends_at(&self) -> Option<Time> {
        self.after(self.lease.seconds)
    }
}

/// One question and its repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exchange {
    xid: u32,
    began: Time,
    sent: Time,
    repeat: Time,
    gap: Duration,
}

/// An offer that was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    address: Ipv4Addr,
    server: Ipv4Addr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing to do, and nothing to wait for.
    Idle,
    /// Looking for a server.
    Selecting(Exchange),
    /// Asking for what a server offered.
    Requesting(Exchange, Offer),
    /// Asking for an address that was ours (INIT-REBOOT).
    Rebooting(Exchange, Ipv4Addr),
    /// Between two attempts.
    Pausing(Time),
    /// There is a lease, and time.
    Bound(Option<Time>),
    /// Asking the server for more.
    Renewing(Exchange),
    /// Asking any server for more.
    Rebinding(Exchange),
}

/// The client of one interface.
#[derive(Clone, Debug)]
pub struct Client {
    who: Identity,
    timing: Timing,
    entropy: Entropy,
    state: State,
    retry: Retry,
    held: Option<Held>,
}

impl Client {
    /// A client that does nothing yet.
    pub fn new(who: Identity, timing: Timing, seed: u64) -> Self {
        let retry = Retry::new(&timing, None);
        Self { who, timing, entropy: Entropy::new(seed), state: State::Idle, retry, held: None }
    }

    /// Begins to look for a lease, and gives up in the end.
    pub fn start(&mut self, now: Time) -> Vec<Effect> {
        self.retry = Retry::new(&self.timing, Some(now + self.timing.give_up));
        self.discover(now)
    }

    /// Begins with an address that was ours before the interface was made anew.
    pub fn reboot(&mut self, now: Time, address: Ipv4Addr) -> Vec<Effect> {
        self.retry = Retry::new(&self.timing, Some(now + self.timing.give_up));
        let exchange = self.exchange(now, now, FIRST_REPEAT);
        self.state = State::Rebooting(exchange, address);
        self.say(now)
    }

    /// Goes on with a lease whose interface still has its address: soon its server is asked whether it still stands.
    pub fn resume(&mut self, now: Time, held: Held) {
        let soon = now + Duration::from_millis(self.entropy.bits() % CONFIRM_WITHIN.as_millis() as u64);
        let wake = held.renew_at().map_or(soon, |at| at.clamp(now, soon));
        self.held = Some(held);
        self.state = State::Bound(Some(wake));
    }

    /// What is held now.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Whether answers are waited for.
    pub fn is_listening(&self) -> bool {
        !matches!(self.state, State::Idle | State::Pausing(_) | State::Bound(_))
    }

    /// The interface has another hardware address now; servers know the client by its id.
    pub fn readdress(&mut self, mac: Mac) {
        self.who.mac = mac;
    }

    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.who
    }

    /// When the client wants to be told [`Event::Woken`].
    pub fn wake(&self) -> Option<Time> {
        match &self.state {
            State::Idle => None,
            State::Bound(at) => *at,
            State::Pausing(until) => Some(self.retry.until.map_or(*until, |end| end.min(*until))),
            State::Selecting(x) | State::Requesting(x, _) | State::Rebooting(x, _) => {
                Some(x.repeat.min(x.began + self.timing.attempt))
            }
            State::Renewing(x) => earliest(x.repeat, self.held.as_ref().and_then(Held::rebind_at)),
            State::Rebinding(x) => earliest(x.repeat, self.held.as_ref().and_then(Held::ends_at)),
        }
    }

    /// The message that gives the lease back, if there is one. The client forgets it.
    pub fn release(&mut self) -> Option<(Message, Destination)> {
        self.state = State::Idle;
        let held = self.held.take()?;
        let xid = self.entropy.bits() as u32;
        Some(compose::release(&self.who, xid, &held.lease))
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::Received(message, from) => self.receive(now, &message, from),
            Event::Woken if self.wake().is_some_and(|at| at <= now) => self.wake_up(now),
            Event::Woken => Vec::new(),
        }
    }

    fn receive(&mut self, now: Time, message: &Message, from: Mac) -> Vec<Effect> {
        let Some(exchange) = self.state.exchange() else { return Vec::new() };
        let ours = message.op == Op::Reply && message.xid == exchange.xid && message.chaddr == self.who.mac;
        let (Some(kind), true) = (message.kind(), ours) else { return Vec::new() };
        match (&self.state, kind) {
            (State::Selecting(_), Kind::Offer) => self.take_offer(now, message),
            (State::Requesting(_, offer), Kind::Ack | Kind::Nak) if !is_from(message, offer.server) => {
                Vec::new()
            }
            (State::Selecting(_), _) | (_, Kind::Offer) => Vec::new(),
            (_, Kind::Ack) => self.take_lease(message, from),
            (State::Requesting(..), Kind::Nak) => self.pause(now),
            (State::Rebooting(..), Kind::Nak) => self.discover(now),
            (_, Kind::Nak) => self.lose(now, Loss::Refused),
            _ => Vec::new(),
        }
    }

    fn take_offer(&mut self, now: Time, message: &Message) -> Vec<Effect> {
        let (Some(server), Some(exchange)) = (message.options.ip(code::SERVER), self.state.exchange()) else {
            return Vec::new();
        };
        if message.yiaddr.is_unspecified() {
            return Vec::new();
        }
        let (xid, began) = (exchange.xid, exchange.began);
        let exchange = Exchange { xid, ..self.exchange(now, began, FIRST_REPEAT) };
        self.state = State::Requesting(exchange, Offer { address: message.yiaddr, server });
        self.say(now)
    }

    fn take_lease(&mut self, message: &Message, from: Mac) -> Vec<Effect> {
        // It counts from the moment at which the request was sent (RFC 2131 section 4.4.1).
        let Some(since) = self.state.exchange().map(|exchange| exchange.sent) else { return Vec::new() };
        let earlier = self.held.as_ref().map(|held| &held.lease);
        match Lease::read(message, from, earlier) {
            Ok(lease) => {
                let held = Held { lease: lease.clone(), since };
                self.state = State::Bound(held.renew_at());
                self.held = Some(held);
                vec![Effect::Leased(lease)]
            }
            Err(why) => self.refuse(&why),
        }
    }

    /// An answer that is no lease ends the first series of attempts, as the next answer would be the same. Later, the lease that
    /// is held lasts as long as it does.
    fn refuse(&mut self, why: &LeaseError) -> Vec<Effect> {
        if self.held.is_some() || self.retry.until.is_none() {
            return Vec::new();
        }
        self.state = State::Idle;
        vec![Effect::GaveUp(why.to_string())]
    }

    fn wake_up(&mut self, now: Time) -> Vec<Effect> {
        let over = |exchange: &Exchange| now >= exchange.began + self.timing.attempt;
        let past = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let held = self.held.as_ref();
        match &self.state {
            State::Idle => Vec::new(),
            State::Pausing(_) if past(self.retry.until) => self.give_up(),
            State::Pausing(_) => self.discover(now),
            State::Rebooting(exchange, _) if over(exchange) => self.discover(now),
            State::Selecting(exchange) | State::Requesting(exchange, _) if over(exchange) => self.pause(now),
            State::Bound(_) | State::Renewing(_) | State::Rebinding(_)
                if past(held.and_then(Held::ends_at)) =>
            {
                self.lose(now, Loss::Expired)
            }
            State::Bound(_) | State::Renewing(_) if past(held.and_then(Held::rebind_at)) => {
                let exchange = self.exchange(now, now, self.patience(now, Held::ends_at));
                self.state = State::Rebinding(exchange);
                self.say(now)
            }
            State::Bound(_) => {
                let exchange = self.exchange(now, now, self.patience(now, Held::rebind_at));
                self.state = State::Renewing(exchange);
                self.say(now)
            }
            _ => self.repeat(now),
        }
    }

    fn give_up(&mut self) -> Vec<Effect> {
        self.state = State::Idle;
        vec![Effect::GaveUp("no more tries".to_owned())]
    }

    fn discover(&mut self, now: Time) -> Vec<Effect> {
        self.state = State::Selecting(self.exchange(now, now, FIRST_REPEAT));
        self.say(now)
    }

    fn pause(&mut self, now: Time) -> Vec<Effect> {
        if self.retry.until.is_some_and(|end| end <= now) {
            return self.give_up();
        }
        self.state = State::Pausing(now + self.retry.pause(&mut self.entropy));
        Vec::new()
    }

    fn lose(&mut self, now: Time, why: Loss) -> Vec<Effect> {
        let Some(held) = self.held.take() else { return Vec::new() };
        self.retry = Retry::new(&self.timing, None);
        let mut effects = vec![Effect::Lost { lease: held.lease, why }];
        effects.extend(self.discover(now));
        effects
    }

    /// Says the same again, and waits longer for the answer.
    fn repeat(&mut self, now: Time) -> Vec<Effect> {
        let next = match self.state {
            State::Renewing(_) => self.patience(now, Held::rebind_at),
            State::Rebinding(_) => self.patience(now, Held::ends_at),
            _ => Duration::ZERO,
        };
        let entropy = &mut self.entropy;
        if let Some(exchange) = self.state.exchange_mut() {
            exchange.gap = if next.is_zero() { exchange.gap * 2 } else { next };
            exchange.sent = now;
            exchange.repeat = now + spread(exchange.gap, entropy);
        }
        self.say(now)
    }

    /// Half of the time that is left, but at least a minute.
    fn patience(&self, now: Time, end: fn(&Held) -> Option<Time>) -> Duration {
        let end = self.held.as_ref().and_then(end);
        end.map_or(SHORTEST_REPEAT, |end| end.saturating_sub(now) / 2).max(SHORTEST_REPEAT)
    }

    fn exchange(&mut self, now: Time, began: Time, gap: Duration) -> Exchange {
        let xid = self.entropy.bits() as u32;
        Exchange { xid, began, sent: now, repeat: now + spread(gap, &mut self.entropy), gap }
    }

    fn say(&self, now: Time) -> Vec<Effect> {
        let said = compose::question(&self.who, &self.state, self.held.as_ref(), now);
        said.map(|(message, to)| Effect::Send(message, to)).into_iter().collect()
    }
}

impl State {
    fn exchange(&self) -> Option<&Exchange> {
        match self {
            Self::Idle | Self::Pausing(_) | Self::Bound(_) => None,
            Self::Selecting(exchange)
            | Self::Requesting(exchange, _)
            | Self::Rebooting(exchange, _)
            | Self::Renewing(exchange)
            | Self::Rebinding(exchange) => Some(exchange),
        }
    }

    fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        match self {
            Self::Idle | Self::Pausing(_) | Self::Bound(_) => None,
            Self::Selecting(exchange)
            | Self::Requesting(exchange, _)
            | Self::Rebooting(exchange, _)
            | Self::Renewing(exchange)
            | Self::Rebinding(exchange) => Some(exchange),
        }
    }
}

/// Whether it comes from this server, or from one that does not say who it is.
fn is_from(message: &Message, server: Ipv4Addr) -> bool {
    message.options.ip(code::SERVER).is_none_or(|named| named == server)
}

fn earliest(time: Time, other: Option<Time>) -> Option<Time> {
    Some(other.map_or(time, |other| other.min(time)))
}

#[cfg(test)]
mod tests;
