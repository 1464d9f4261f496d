//! Makes releases that waited on disk, when the agent starts and as long as there are any.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polynic_ipam::FailureReason;
use polynic_runtime::Shutdown;
use polynic_wire::journal::Pending;
use tokio::time::sleep;

use super::Service;

/// How often the directory is looked at.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Replays until the end.
pub async fn run(service: Arc<Service>, interval: Duration, shutdown: Shutdown) {
    loop {
        if service.healthy().is_ok() {
            shutdown.unless(once(&service)).await;
        }
        if shutdown.unless(sleep(interval)).await.is_none() {
            return;
        }
    }
}

/// Tries every release that waits, once; answers how many still wait.
pub async fn once(service: &Service) -> usize {
    service.releases().sweep(SystemTime::now());
    let pending = match service.releases().pending() {
        Ok(pending) => pending,
        Err(why) => {
            tracing::error!(%why, "the releases on disk cannot be read");
            return 0;
        }
    };
    let mut left = 0;
    for release in pending {
        if !replay(service, &release).await {
            left += 1;
        }
    }
    left
}

async fn replay(service: &Service, release: &Pending) -> bool {
    match service.try_release(&release.request).await {
        Err(failure) if !matches!(failure.why, FailureReason::WrongInput(_)) => return false,
        Err(failure) => tracing::error!(%failure, "a release on disk is given up: it can never be made"),
        Ok(()) => tracing::info!(pod = release.request.pod_name, "a release that waited on disk is made"),
    }
    if let Err(why) = service.releases().forget(release) {
        tracing::error!(%why, "a release on disk cannot be removed");
    }
    true
}
