//! Why a packet takes the path it takes, and whether the reply comes back.
//!
//! Everything here is pure: it works on what a survey of the kernel saw ([`polynic_net::stack::Stack`], one for each namespace), and
//! answers with data. [`lookup`] says which rule, table and route a packet takes.

mod flow;
pub mod incoming;
pub mod lookup;
pub mod reverse_path;

pub use flow::{Flow, ICMP, ICMPV6, TCP, UDP};
