//! Asking the network who has an address, and telling it that we have one, with frames of our own on packet sockets
//! (spec/coordinator.md 4.9 and 5).
//!
//! [`frame`] builds and reads frames, [`socket`] carries them, [`ask`] is the conversation. Nothing here knows what an
//! answer means.

mod ask;
mod frame;
mod socket;

pub(crate) use ask::{Question, ask};
pub(crate) use frame::{Source, announcement};
pub(crate) use socket::{PacketSocket, Protocol};
