//! A cluster on one machine: nodes as namespaces, an underlay with a router, a small kubelet, and stories to run in it.
//!
//! The lab runs the same programs as a real cluster: plugins are executed by their names from /opt/cni/bin as containerd does, objects
//! live in the embedded API server, and packets travel over veth pairs, bridges and a router. Only the containers are missing:
//! a pause process holds each pod's network.
//!
//! - `launch` takes processes out of the machine's namespaces, and ends labs; `state` is what they keep on disk.
//! - `supervisor` makes everything: `underlay`, nodes (`hold`, `node`), the API server (`api`), `kubelet`s, and `controllers` with the scheduler.
//! - `fleet` keeps the nodes with their `services`, and adds, kills and removes them on request.
//! - `exec` runs a tool in a pod, `manifest` applies YAML.
//! - `scenario` checks the stories of `scenarios/`, `demo` shows the first one.
//!
//! The crate is a program: [`main`] is its interface.

use std::process::ExitCode;

use clap::Parser;

mod api;
mod backoff;
mod calico_pools;
mod cli;
mod command;
mod container;
mod controllers;
mod daemon;
mod demo;
mod diagnose;
mod error;
mod events;
mod exec;
mod flannel;
mod fleet;
mod given;
mod hold;
mod kubelet;
mod launch;
mod manifest;
mod mounts;
mod multus;
mod namespaces;
mod node;
mod notice;
mod policies;
mod process;
mod progress;
mod proxy;
mod random;
mod reach;
mod registry;
mod relay;
mod scenario;
mod services;
mod shape;
mod spiderpool;
mod state;
mod supervisor;
mod ui;
mod underlay;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    command::run(cli::Cli::parse())
}
