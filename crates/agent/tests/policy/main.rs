//! Network policies with real packets: tables as they are rendered, and the service between an API server and pods' namespaces. Where the
//! machine forbids namespaces, tests say that they are skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod edits;
mod lan;
mod packets;
mod sctp;
mod service;
mod world;

#[ctor::ctor(unsafe)]
fn private() {
    polynic_kernel::testing::enter_before_main();
}
