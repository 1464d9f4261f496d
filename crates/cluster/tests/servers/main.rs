//! What this crate does with an API server, against the embedded one, and against a real one where its programs are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use polynic_apiserver::{Config, Server};
use polynic_control_plane::{ControlPlane, Programs};
use tempfile::TempDir;

mod addresses;
mod multus;
mod watchers;
mod whereabouts;

/// An embedded server in a thread of its own, for the rest of the process: its directory and its kubeconfig.
fn embedded() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("api");
    let (started, path) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let running = Server::start(Config::new(data)).await.unwrap();
            started.send(running.kubeconfig_path().to_owned()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    (directory, path.recv_timeout(Duration::from_secs(120)).unwrap())
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

/// One control plane for all of it: to start one takes seconds.
#[test]
fn a_real_api_server_is_served_in_the_same_way() {
    let Some(programs) = Programs::or_skip() else { return };
    let plane = ControlPlane::start(&programs).unwrap();
    let kubeconfig: &Path = &plane.kubeconfig_path();
    block_on(watchers::all(kubeconfig));
    multus::all(kubeconfig);
    block_on(addresses::all(kubeconfig));
    whereabouts::all(kubeconfig);
}
