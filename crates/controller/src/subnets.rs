//! SpiderSubnets and the automatic pools of applications (spec/spiderpool.md 9A).
//!
//! One loop looks at all subnets, pools and applications together: `plan` says what the next steps are, `apply` takes them, and then
//! everything is looked at again, until there is nothing to do. An address is first noted in the subnet's status and then put into a pool, and
//! each step follows from what is there, so a controller that is killed in between goes on.

mod application;
mod apply;
mod follow;
mod plan;

pub use application::Application;
pub use plan::{Plan, Step, World, plan};

use std::sync::Arc;

use kube::Client;
use polynic_api::admission::Rules;
use tokio::sync::Notify;

use crate::events::Events;
use crate::reconcile::Pace;

/// How many rounds follow each other without a pause.
const ROUNDS: usize = 20;

/// What is looked after, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether applications get pools, and how many addresses more than replicas.
    pub auto_pools: Option<u32>,
    /// Which families are in use.
    pub rules: Rules,
    /// Pauses.
    pub pace: Pace,
}

/// Keeps subnets and automatic pools until the future is dropped.
pub async fn run(client: Client, events: Events, options: Options) {
    let changed = Arc::new(Notify::new());
    let applications = follow::Applications::default();
    let keeper = apply::Keeper {
        client: client.clone(),
        events,
        options,
        applications: applications.clone(),
        told: apply::Told::default(),
    };
    let rounds = async {
        loop {
            let is_settled = keeper.settle(ROUNDS).await;
            let pause = if is_settled { options.pace.resync } else { options.pace.retry };
            // A permit of the past may be left over: one round too many does no harm.
            let _ = tokio::time::timeout(pause, changed.notified()).await;
        }
    };
    let followed = follow::follow(&client, options.auto_pools.is_some(), &applications, &changed);
    tokio::join!(rounds, followed);
}
