//! What kube-proxy does on a node: packets to Services go to ready pods behind them, by nf_tables.
//!
//! [`plan`](mod@plan) decides the rules, [`apply`] puts them in place of the present ones in one batch. Connections are spread at random over all ready
//! endpoints; session affinity is not kept. The proxy runs in the kubelet's process and in the node's network.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::Notify;

use crate::notice::follow;
use crate::shape::Dual;

mod apply;
pub mod plan;

/// Changes come in bursts: rules are made anew once for all of them.
const GATHER: Duration = Duration::from_millis(20);
/// After a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Which node this is, and what counts as a pod of the cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name: some Services only want endpoints of the node that a packet comes to.
    pub node: String,
    /// Sources outside of these networks are masqueraded.
    pub pods: Dual,
}

/// Keeps the rules up to date for as long as the kubelet runs.
pub async fn run(client: Client, config: Config) {
    let changed = Arc::new(Notify::new());
    follow::<Service>(&client, &changed);
    follow::<EndpointSlice>(&client, &changed);
    let mut applied = None;
    loop {
        changed.notified().await;
        tokio::time::sleep(GATHER).await;
        match wanted(&client, &config).await {
            Ok(wanted) if applied.as_ref() == Some(&wanted) => {}
            Ok(wanted) => {
                let rules = wanted.clone();
                let done = tokio::task::spawn_blocking(move || apply::apply(&rules)).await;
                match done.map_err(|why| why.to_string()).and_then(|done| done) {
                    Ok(()) => applied = Some(wanted),
                    Err(why) => retry(&changed, &why),
                }
            }
            Err(why) => retry(&changed, &why.to_string()),
        }
    }
}

fn retry(changed: &Arc<Notify>, why: &str) {
    tracing::warn!(%why, "the rules of Services are not up to date");
    let changed = Arc::clone(changed);
    tokio::spawn(async move {
        tokio::time::sleep(AGAIN).await;
        changed.notify_one();
    });
}

async fn wanted(client: &Client, config: &Config) -> Result<plan::Rules, kube::Error> {
    let everything = ListParams::default();
    let services = Api::<Service>::all(client.clone()).list(&everything).await?.items;
    let slices = Api::<EndpointSlice>::all(client.clone()).list(&everything).await?.items;
    Ok(plan::rules(&services, &slices, config))
}

/// Whether an address is an IPv4 one.
fn is_v4(ip: &IpAddr) -> bool {
    ip.is_ipv4()
}
