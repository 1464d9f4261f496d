//! Why a packet takes the path it takes, and whether the reply comes back.
//!
//! Everything here is pure: it works on what a survey of the kernel saw ([`polynic_net::stack::Stack`], one for each namespace), and
//! answers with data. [`lookup`] says which rule, table and route a packet takes, [`incoming`] what a namespace does with one that came in,
//! [`firewall`] what its rules do with it, [`wire`] where it comes out; [`explain`] puts them together for request and reply.

mod explanation;
pub mod firewall;
mod flow;
pub mod incoming;
pub mod lookup;
mod loss;
mod neighbour;
mod policy;
pub mod reverse_path;
mod scene;
#[cfg(test)]
mod testing;
mod walk;
pub mod wire;

pub use explanation::{Asker, Explanation, Finding, Leg, LinkOf, Question, Works, explain};
pub use flow::{Flow, ICMP, ICMPV6, TCP, UDP};
pub use loss::{Cause, Loss};
pub use neighbour::{Receiver, Silence};
pub use scene::{Scene, Site, Spot};
pub use walk::{End, Step, Way, What};
