//! The whole daemon, as it runs in a cluster: all parts together, and what an uninstallation leaves.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use polynic_controller::certificates::CertificateFiles;
use polynic_controller::clean::{Names, clean};
use polynic_controller::daemon;
use polynic_controller::init::Plan;
use polynic_controller::settings::Settings;
use polynic_runtime::Shutdown;
use polynic_runtime::tls::{self, Wish};
use serde_json::json;

use crate::support::{Cluster, PATIENCE, POOLS, RULES, free_port, in_namespace, pool, refusal};

fn settings() -> Settings {
    let mut settings = Settings::read("", &|_| None).unwrap();
    settings.ports.webhook = free_port();
    settings.ports.health = free_port();
    settings.webhook_url = format!("https://127.0.0.1:{}", settings.ports.webhook);
    settings.lease = (Duration::from_secs(60), Duration::from_secs(40), Duration::from_millis(50));
    settings.pace.retry = Duration::from_millis(100);
    settings
}

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// A controller's life from its first start, when it and `spiderpool-init` work with these rights.
async fn lives(cluster: &Cluster, controller: Client, init: Client) {
    let shutdown = Shutdown::default();
    let running = tokio::spawn(daemon::run(settings(), controller, None, shutdown.clone()));
    cluster.until(CONFIGURATIONS, "spiderpool-controller", "registered", |_| true).await;
    let (code, _) = refusal(cluster.try_create(POOLS, &pool("bad", json!({"subnet": "10.6.0.1/16"}))).await);
    assert_eq!(code, 422);

    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "spiderpool-controller"},
                           "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 5722}]}]});
    cluster.create("/api/v1/namespaces/kube-system/endpoints", &endpoints).await;
    let variables = |name: &str| match name {
        "SPIDERPOOL_INIT_DEFAULT_IPV4_IPPOOL_NAME" => Some("default-v4-ippool".to_owned()),
        "SPIDERPOOL_INIT_DEFAULT_IPV4_IPPOOL_SUBNET" => Some("10.6.0.0/16".to_owned()),
        "SPIDERPOOL_INIT_DEFAULT_IPV4_IPPOOL_IPRANGES" => Some("[\"10.6.0.1-10.6.0.9\"]".to_owned()),
        "SPIDERPOOL_INIT_DEFAULT_COORDINATOR_NAME" => Some("default".to_owned()),
        "SPIDERPOOL_INIT_DEFAULT_COORDINATOR_POD_CIDR_TYPE" => Some("none".to_owned()),
        "SPIDERPOOL_INIT_ENABLE_MULTUS_CONFIG" => Some("true".to_owned()),
        "SPIDERPOOL_INIT_DEFAULT_CNI_NAME" => Some("calico".to_owned()),
        _ => None,
    };
    let plan = Plan::read(&variables).unwrap();
    for _ in 0..2 {
        let done = tokio::time::timeout(PATIENCE, plan.carry_out(&init)).await;
        done.expect("the second time, all is there").unwrap();
    }
    let nonsense = |name: &str| match name {
        "SPIDERPOOL_INIT_DEFAULT_IPV4_IPPOOL_NAME" => Some("nonsense".to_owned()),
        "SPIDERPOOL_INIT_DEFAULT_IPV4_IPPOOL_SUBNET" => Some("10.6.0.1/16".to_owned()),
        _ => None,
    };
    let refused = tokio::time::timeout(PATIENCE, Plan::read(&nonsense).unwrap().carry_out(&init)).await;
    let refused = refused.expect("it does not wait for ever").unwrap_err().to_string();
    assert_eq!(refused, "SpiderIPPool \"nonsense\" is refused");
    cluster.until(POOLS, "default-v4-ippool", "counted", |pool| pool["status"]["totalIPCount"] == 9).await;
    let coordinators = "/apis/spiderpool.spidernet.io/v2beta1/spidercoordinators";
    cluster.until(coordinators, "default", "synced", |object| object["status"]["phase"] == "Synced").await;
    let nads = "/apis/k8s.cni.cncf.io/v1/namespaces/kube-system/network-attachment-definitions";
    cluster.until(nads, "calico", "made", |nad| nad["spec"].get("config").is_none()).await;

    shutdown.trigger();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    let lease = cluster
        .get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", "spiderpool-controller-leases")
        .await;
    assert_eq!(lease["spec"]["holderIdentity"], "", "the next one need not wait");
}

#[tokio::test]
async fn the_rights_of_the_manifests_are_enough() {
    let cluster = Cluster::with_rights_of_the_manifests().await;
    let nobody = cluster.account("nobody").await;
    assert!(nobody.apiserver_version().await.is_ok());
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::all(nobody);
    let refused = pods.list(&kube::api::ListParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403), "rights are asked for");
    lives(&cluster, cluster.account("spiderpool-controller").await, cluster.account("spiderpool-init").await)
        .await;
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_served_and_the_api_server_told_whom_to_trust() {
    let cluster = Cluster::start().await;
    let now = Timestamp::now();
    let until = now.saturating_add(SignedDuration::from_hours(72)).unwrap();
    let wish = Wish { name: "company", names: vec!["127.0.0.1".to_owned()], from: now, until };
    let identity = tls::make(&wish).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    file("ca.crt", &identity.authorities);
    let files = CertificateFiles {
        certificate: file("tls.crt", &identity.certificate),
        key: file("tls.key", &identity.key),
    };
    let shutdown = Shutdown::default();
    let running =
        tokio::spawn(daemon::run(settings(), cluster.client.clone(), Some(files), shutdown.clone()));
    cluster.until(CONFIGURATIONS, "spiderpool-controller", "registered", |_| true).await;
    let (code, _) = refusal(cluster.try_create(POOLS, &pool("bad", json!({"subnet": "10.6.0.1/16"}))).await);
    assert_eq!(code, 422, "it is the webhook that refuses");
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    assert!(cluster.try_get(secrets, "spiderpool-controller-server-certs").await.is_none(), "none is made");
    shutdown.trigger();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn everything_works_together_and_goes_when_it_is_uninstalled() {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let cluster = Cluster::start().await;
    lives(&cluster, cluster.client.clone(), cluster.client.clone()).await;
    let controller = || "spiderpool-controller".to_owned();
    let names = Names {
        mutating: controller(),
        validating: controller(),
        init_job: ("kube-system".into(), "spiderpool-init".into()),
    };
    assert_eq!(clean(&cluster.client, &names).await, Vec::<String>::new());
    cluster.until_gone(CONFIGURATIONS, "spiderpool-controller").await;
    cluster.until_gone(DEFINITIONS, "spiderippools.spiderpool.spidernet.io").await;
    assert!(cluster.try_get(&in_namespace("spiderendpoints", "default"), "x").await.is_none());
    assert_eq!(
        clean(&cluster.client, &names).await,
        Vec::<String>::new(),
        "a second time there is nothing to do"
    );
    // As the round of a controller that has not ended yet.
    cluster.webhooks(RULES).await;
    assert!(cluster.try_get(CONFIGURATIONS, "spiderpool-controller").await.is_none(), "none is left");
}

polynic_control_plane::on_a_real_server!(
    the_rights_of_the_manifests_are_enough,
    a_certificate_of_somebody_else_is_served_and_the_api_server_told_whom_to_trust,
    everything_works_together_and_goes_when_it_is_uninstalled,
);
