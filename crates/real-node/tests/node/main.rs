//! A real container runtime calls our plugins. Tier `node`: skipped where there is no root, no containerd or no runc.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod chart;
mod claims;
mod cluster;
mod devices;
mod installed;
mod machine;
mod podman;
mod published;
mod reference_client;
mod sandboxes;
mod swap;
mod upstream;
mod whereabouts;
