//! Leader election against an API server.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use polynic_apiserver::{Config, Server};
use polynic_runtime::Shutdown;
use polynic_runtime::leader::{Election, Leadership, while_leading};
use tokio::sync::watch;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn election(identity: &str) -> Election {
    Election {
        namespace: "kube-system".into(),
        name: "spiderpool-controller-leases".into(),
        identity: identity.into(),
        duration: Duration::from_secs(2),
        renew_deadline: Duration::from_millis(1500),
        retry: Duration::from_millis(20),
    }
}

async fn until(receiver: &mut watch::Receiver<Leadership>, wanted: impl Fn(&Leadership) -> bool) {
    timeout(PATIENCE, receiver.wait_for(|leadership| wanted(leadership))).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_leads_and_another_takes_over_when_it_stops_or_dies() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Config::new(directory.path())).await.unwrap();
    let client = polynic_cluster::client_from(Some(server.kubeconfig_path())).await.unwrap().unwrap();
    let start = |name: &str| {
        let stop = Shutdown::default();
        let (receiver, task) = election(name).start(client.clone(), stop.clone());
        (receiver, task, stop)
    };
    let (mut a, a_task, a_stop) = start("a");
    until(&mut a, |leadership| leadership.is_ours).await;
    let (mut b, b_task, _b_stop) = start("b");
    until(&mut b, |leadership| leadership.leader.as_deref() == Some("a")).await;

    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let work_stop = Shutdown::default();
    let work = tokio::spawn(while_leading(b.clone(), work_stop.clone(), move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    }));
    assert_eq!(runs.load(Ordering::SeqCst), 0);

    a_stop.trigger();
    a_task.await.unwrap();
    until(&mut b, |leadership| leadership.is_ours).await;
    timeout(PATIENCE, async {
        while runs.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    b_task.abort();
    let (mut c, _c_task, _c_stop) = start("c");
    until(&mut c, |leadership| leadership.is_ours).await;
    let lease =
        Api::<Lease>::namespaced(client, "kube-system").get("spiderpool-controller-leases").await.unwrap();
    let spec = lease.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("c"), Some(2)));
    work_stop.trigger();
    work.await.unwrap();
    server.shutdown().await;
}
