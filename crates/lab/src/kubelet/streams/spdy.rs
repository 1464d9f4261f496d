//! SPDY/3.1 as far as kubectl and client-go use it: streams that the client opens, their bytes, their ends. There is no flow control: neither side of this
//! protocol's users ever had it.
//!
//! [`frame`] reads and writes frames, [`headers`] their compressed headers, [`connection`] keeps the streams apart. [`commands`] and [`forward`] use it.

pub mod commands;
mod connection;
pub mod forward;
mod frame;
mod headers;
