//! The whole controller dies after each of its writes, one after the other, and its successor takes the next step: collection, subnets and
//! automatic pools, pools that are deleted, NADs, the coordinator's status, and the rotation of the certificate.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use polynic_checker::{Severity, check_cluster};
use polynic_controller::certificates::Certificates;
use polynic_controller::daemon;
use polynic_controller::settings::Settings;
use polynic_controller::webhook::registration::{Reach, Registration};
use polynic_controller::webhook::review::Kind;
use polynic_net::{Family, IntervalSet, IpRange};
use polynic_runtime::Shutdown;
use polynic_runtime::tls::ServerCertificate;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::gc::{attached, force_delete, record};
use crate::mortal::Life;
use crate::subnets::{DEPLOYMENTS, deployment};
use crate::support::{Cluster, PATIENCE, POOLS, SUBNETS, free_port, in_namespace, object, pool};

/// More lives than this, and it goes in circles.
const LIVES: usize = 200;
const GROUP: &str = "/apis/spiderpool.spidernet.io/v2beta1";
const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const SECRET: &str = "spiderpool-controller-server-certs";
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const NETWORK: &str = r#"{"cniVersion":"0.3.1","name":"made","plugins":[{"type":"macvlan","master":"e1","mode":"bridge","mtu":0,"ipam":{"type":"spiderpool"}},{"tunePodRoutes":true,"mode":"auto","type":"coordinator"}]}"#;

/// A process of the controller is a runtime of its own: whatever it has begun ends with it.
fn live(kubeconfig: PathBuf, settings: Settings, life: Arc<Life>) -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = polynic_cluster::client_from(Some(&kubeconfig)).await.unwrap().unwrap();
            let running = daemon::run(settings, life.client(client), None, Shutdown::default());
            tokio::select! {
                ended = running => ended.unwrap(),
                () = life.ended() => {}
            }
        });
        drop(runtime);
        let _ = ended.send(());
    });
    end
}

fn settings() -> Settings {
    let mut settings = Settings::read("", &|_| None).unwrap();
    settings.ports.webhook = free_port();
    settings.ports.health = free_port();
    settings.webhook_url = format!("https://127.0.0.1:{}", settings.ports.webhook);
    settings.lease = (Duration::from_secs(60), Duration::from_secs(40), Duration::from_millis(50));
    settings.pace.retry = Duration::from_millis(50);
    settings.gc.as_mut().unwrap().trace_gap = Duration::from_millis(20);
    settings
}

/// What the controller finds when it starts for the first time.
async fn begin(cluster: &Cluster, settings: &Settings) {
    let subnet = json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.40"]});
    cluster.create(SUBNETS, &object("SpiderSubnet", "s", subnet)).await;
    for name in ["web-0", "web-1"] {
        deployment(cluster, name, 2).await;
    }
    let ips = json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.99"]});
    cluster.create(POOLS, &pool("p", ips)).await;
    let mut records = Vec::new();
    for n in 1..=4u8 {
        let (name, ip) = (format!("pod-{n}"), format!("10.0.0.{n}"));
        let uid = attached(cluster, &name, &ip, None).await;
        records.push((ip, name, uid));
    }
    records.push(("10.0.0.5".to_owned(), "never".to_owned(), "x".to_owned()));
    let records: Vec<(&str, &str, &str)> =
        records.iter().map(|(ip, name, uid)| (ip.as_str(), name.as_str(), uid.as_str())).collect();
    record(cluster, &records).await;
    for gone in ["pod-1", "pod-3"] {
        force_delete(cluster, gone).await;
    }
    let mut old = pool("old", json!({"ipVersion": 4, "subnet": "10.1.0.0/24", "ips": ["10.1.0.1"]}));
    old["metadata"]["finalizers"] = json!(["spiderpool.spidernet.io"]);
    cluster.create(POOLS, &old).await;
    let stale = json!({"allocatedIPs": "{\"10.1.0.1\":{\"pod\":\"default/never\",\"podUid\":\"x\"}}", "allocatedIPCount": 1});
    cluster.patch_status(POOLS, "old", &stale).await;
    cluster.delete(POOLS, "old").await;
    networks(cluster).await;
    expiring_certificate(cluster, settings).await;
}

async fn networks(cluster: &Cluster) {
    let configs = in_namespace("spidermultusconfigs", "default");
    for name in ["made", "adopted", "edited"] {
        let spec = json!({"cniType": "macvlan", "macvlan": {"master": ["e1"]}});
        cluster.create(&configs, &object("SpiderMultusConfig", name, spec)).await;
    }
    let text = NETWORK.replace("made", "adopted");
    let nad = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                     "metadata": {"name": "adopted"}, "spec": {"config": text}});
    cluster.create(NADS, &nad).await;
    cluster
        .create(
            &format!("{GROUP}/spidercoordinators"),
            &object("SpiderCoordinator", "default", json!({"podCIDRType": "cluster"})),
        )
        .await;
    let text = "networking:\n  podSubnet: 10.233.64.0/18\n  serviceSubnet: 10.233.0.0/18\n";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubeadm-config"},
                     "data": {"ClusterConfiguration": text}});
    cluster.create("/api/v1/namespaces/kube-system/configmaps", &map).await;
}

/// A certificate that is good and soon ends, and whose authority is trusted.
async fn expiring_certificate(cluster: &Cluster, settings: &Settings) {
    let certificates = Certificates {
        client: cluster.client.clone(),
        namespace: "kube-system".into(),
        secret: SECRET.into(),
        names: vec!["127.0.0.1".into()],
        registration: Registration {
            name: "spiderpool-controller".into(),
            reach: Reach::Url(settings.webhook_url.clone()),
            kinds: Kind::ALL.to_vec(),
            pods: None,
        },
        serving: ServerCertificate::default(),
    };
    certificates.keep(Timestamp::now() - SignedDuration::from_hours(24 * 300)).await.unwrap();
}

async fn secret(cluster: &Cluster) -> Value {
    cluster.get(SECRETS, SECRET).await["data"].clone()
}

/// What must hold whenever a process died, however far it came.
async fn judge(cluster: &Cluster, alive: &[&str]) {
    let seen = polynic_cluster::survey::survey(&cluster.client).await.unwrap();
    assert_eq!(seen.unreadable, [""; 0]);
    let violations = check_cluster(&seen.cluster);
    let dangers: Vec<String> = violations
        .iter()
        .filter(|one| one.rule.severity() == Severity::Danger)
        .map(ToString::to_string)
        .collect();
    assert_eq!(dangers, [""; 0]);
    let records: Vec<String> = seen
        .cluster
        .pools
        .iter()
        .flat_map(|pool| pool.records.iter().map(|record| record.ip.to_string()))
        .collect();
    for ip in alive {
        assert!(records.iter().any(|record| record == ip), "a living pod lost {ip}: {records:?}");
    }
    subnets_know_what_pools_have(cluster).await;
    for nad in cluster.list(NADS).await {
        let name = nad["metadata"]["name"].as_str().unwrap();
        assert_eq!(nad["spec"]["config"], NETWORK.replace("made", name), "half a network");
    }
    let [authority, trusted] = trust(cluster).await;
    assert!(trusted.contains(&authority), "the API server does not trust what is served");
}

/// The authority of the certificate that is served, and those that the API server trusts, without line breaks.
async fn trust(cluster: &Cluster) -> [String; 2] {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let text = |value: &Value| {
        let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap().replace(['\n', '\r'], "")
    };
    let own = text(&secret(cluster).await["ca.crt"]);
    let end = "-----END CERTIFICATE-----";
    let first = own.split_inclusive(end).next().unwrap().to_owned();
    let configuration = cluster.get(CONFIGURATIONS, "spiderpool-controller").await;
    [first, text(&configuration["webhooks"][0]["clientConfig"]["caBundle"])]
}

fn set(ips: &Value) -> IntervalSet {
    let texts = ips.as_array().into_iter().flatten();
    let ranges: Vec<IpRange> = texts.map(|text| text.as_str().unwrap().parse().unwrap()).collect();
    IntervalSet::of_ranges(Family::V4, &ranges)
}

/// An address is noted in the subnet before it is in a pool, so that nobody else is given it.
async fn subnets_know_what_pools_have(cluster: &Cluster) {
    let subnet = cluster.get(SUBNETS, "s").await;
    let text = subnet["status"]["controlledIPPools"].as_str().unwrap_or("{}").to_owned();
    let controlled: Value = serde_json::from_str(&text).unwrap();
    for pool in cluster.list(POOLS).await {
        let name = pool["metadata"]["name"].as_str().unwrap();
        if pool["metadata"]["labels"].get("ipam.spidernet.io/owner-application-name").is_some() {
            let (has, noted) = (set(&pool["spec"]["ips"]), set(&controlled[name]["ips"]));
            assert!(has.difference(&noted).is_empty(), "{name} has {has:?}, and {noted:?} is noted");
        }
    }
}

/// Sizes of the automatic pools.
async fn sizes(cluster: &Cluster) -> Vec<u128> {
    let pools = cluster.list(POOLS).await;
    let automatic = pools
        .iter()
        .filter(|pool| pool["metadata"]["labels"].get("ipam.spidernet.io/owner-application-name").is_some());
    let mut sizes: Vec<u128> = automatic.map(|pool| set(&pool["spec"]["ips"]).count()).collect();
    sizes.sort_unstable();
    sizes
}

/// What is left to do; empty when everything is right.
async fn missing(cluster: &Cluster, wanted: &Wanted<'_>) -> Vec<&'static str> {
    let seen = polynic_cluster::survey::survey(&cluster.client).await.unwrap();
    let nads: BTreeSet<String> = cluster
        .list(NADS)
        .await
        .iter()
        .filter(|nad| nad["metadata"]["ownerReferences"].is_array())
        .map(|nad| nad["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let coordinator = cluster.try_get(&format!("{GROUP}/spidercoordinators"), "default").await;
    let subnet = cluster.get(SUBNETS, "s").await["status"]["allocatedIPCount"].clone();
    let checks = [
        ("violations", check_cluster(&seen.cluster).is_empty()),
        ("automatic pools", sizes(cluster).await == wanted.sizes),
        ("the subnet's count", subnet == json!(wanted.sizes.iter().sum::<u128>() as u64)),
        ("the deleted pool", cluster.try_get(POOLS, "old").await.is_none()),
        ("NADs", nads == ["adopted", "edited", "made"].map(str::to_owned).into()),
        (
            "the coordinator",
            coordinator.map(|object| object["status"]["phase"].clone()) == wanted.coordinator,
        ),
        ("the certificate", secret(cluster).await["tls.crt"] != wanted.old_certificate),
    ];
    checks.into_iter().filter(|(_, is_right)| !is_right).map(|(what, _)| what).collect()
}

struct Wanted<'a> {
    sizes: &'a [u128],
    coordinator: Option<Value>,
    old_certificate: Value,
}

/// Lives follow each other until everything is right. Answers how many died.
async fn lives(cluster: &Cluster, settings: &Settings, wanted: &Wanted<'_>, alive: &[&str]) -> usize {
    for died in 0..LIVES {
        // A new certificate takes three writes, and begins anew if it does not come to the third.
        let life = Life::of(1 + died % 4);
        let mut process = live(cluster.kubeconfig(), settings.clone(), life.clone());
        let begun = Instant::now();
        loop {
            tokio::select! {
                ended = &mut process => break ended.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "after {died} lives nothing happens, and these are not right: {:?}",
                missing(cluster, wanted).await
            );
            if missing(cluster, wanted).await.is_empty() {
                life.kill();
                process.await.unwrap();
                judge(cluster, alive).await;
                return died;
            }
        }
        judge(cluster, alive).await;
    }
    panic!("after {LIVES} lives these are not right: {:?}", missing(cluster, wanted).await)
}

#[tokio::test]
async fn whatever_write_was_the_last_the_next_process_goes_on() {
    let cluster = Cluster::start().await;
    let settings = settings();
    begin(&cluster, &settings).await;
    let old_certificate = secret(&cluster).await["tls.crt"].clone();
    let first = Wanted {
        sizes: &[3, 3],
        coordinator: Some(json!("Synced")),
        old_certificate: old_certificate.clone(),
    };
    let died = lives(&cluster, &settings, &first, &["10.0.0.2", "10.0.0.4"]).await;
    assert!(died >= 8, "only {died} processes died: this shows nothing");

    cluster.delete(DEPLOYMENTS, "web-0").await;
    cluster.patch(DEPLOYMENTS, "web-1", &json!({"spec": {"replicas": 5}})).await;
    cluster.delete(&format!("{GROUP}/spidercoordinators"), "default").await;
    force_delete(&cluster, "pod-2").await;
    cluster.delete(NADS, "made").await;
    let second = Wanted { sizes: &[6], coordinator: None, old_certificate };
    let died = lives(&cluster, &settings, &second, &["10.0.0.4"]).await;
    assert!(died >= 2, "only {died} processes died: this shows nothing");
}

polynic_control_plane::on_a_real_server!(whatever_write_was_the_last_the_next_process_goes_on,);
