//! SpiderMultusConfig to NAD.

use std::time::Duration;

use polynic_controller::events::Events;
use polynic_controller::networks;
use polynic_controller::reconcile::Pace;
use serde_json::{Value, json};

use crate::support::{Cluster, in_namespace, object};

const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";

fn start(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
    let pace = Pace { retry: Duration::from_millis(50), resync: Duration::from_secs(60) };
    let events = Events::new(cluster.client.clone(), "spiderpool-controller", None);
    tokio::spawn(networks::run(cluster.client.clone(), events, pace))
}

fn nad(name: &str, config: &str) -> Value {
    json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": name},
           "spec": {"config": config}})
}

#[tokio::test]
async fn a_nad_follows_its_config_and_heals() {
    let cluster = Cluster::start().await;
    let running = start(&cluster);
    let configs = in_namespace("spidermultusconfigs", "default");
    let spec =
        json!({"cniType": "macvlan", "macvlan": {"master": ["ens192"], "ippools": {"ipv4": ["10-6-v4"]}}});
    let config = cluster.create(&configs, &object("SpiderMultusConfig", "macvlan-ens192", spec)).await;
    let text = |nad: &Value| nad["spec"]["config"].as_str().unwrap_or_default().to_owned();
    let made = cluster.until(NADS, "macvlan-ens192", "made", |_| true).await;
    let owner = &made["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&config["metadata"]["uid"], &json!(true)));
    let wanted = r#"{"cniVersion":"0.3.1","name":"macvlan-ens192","plugins":[{"type":"macvlan","master":"ens192","mode":"bridge","mtu":0,"ipam":{"type":"spiderpool","default_ipv4_ippool":["10-6-v4"]}},{"tunePodRoutes":true,"mode":"auto","type":"coordinator"}]}"#;
    assert_eq!(text(&made), wanted);

    cluster.patch(NADS, "macvlan-ens192", &json!({"spec": {"config": "{}"}})).await;
    cluster.until(NADS, "macvlan-ens192", "healed", |nad| text(nad) == wanted).await;
    cluster.patch(NADS, "macvlan-ens192", &json!({"metadata": {"ownerReferences": null}})).await;
    cluster
        .until(NADS, "macvlan-ens192", "owned again", |nad| nad["metadata"]["ownerReferences"].is_array())
        .await;
    cluster.delete(NADS, "macvlan-ens192").await;
    cluster.until(NADS, "macvlan-ens192", "back", |nad| text(nad) == wanted).await;

    // Killed in the middle of whatever, it goes on where it stopped.
    running.abort();
    cluster.patch(&configs, "macvlan-ens192", &json!({"spec": {"macvlan": {"mtu": 1400}}})).await;
    cluster.patch(NADS, "macvlan-ens192", &json!({"metadata": {"annotations": {"x": "y"}}})).await;
    let _again = start(&cluster);
    let right =
        |nad: &Value| text(nad).contains("\"mtu\":1400") && nad["metadata"].get("annotations").is_none();
    cluster.until(NADS, "macvlan-ens192", "updated", right).await;
}

#[tokio::test]
async fn a_hand_made_nad_is_adopted_only_if_it_says_the_same() {
    let cluster = Cluster::start().await;
    let configs = in_namespace("spidermultusconfigs", "default");
    cluster.create(NADS, &nad("same", "{\"type\": \"x\"}")).await;
    cluster.create(NADS, &nad("other", "{\"type\": \"y\"}")).await;
    let _running = start(&cluster);
    for name in ["same", "other"] {
        let spec = json!({"cniType": "custom", "customCNI": "{\"type\":\"x\"}"});
        cluster.create(&configs, &object("SpiderMultusConfig", name, spec)).await;
    }
    cluster.until(NADS, "same", "adopted", |nad| nad["metadata"]["ownerReferences"].is_array()).await;
    let told = async || {
        let events = cluster.list("/apis/events.k8s.io/v1/namespaces/default/events").await;
        events
            .into_iter()
            .find(|event| event["reason"] == "NotAdopted" && event["regarding"]["name"] == "other")
    };
    cluster.eventually("an Event about the other", told).await;
    assert_eq!(cluster.get(NADS, "other").await["spec"]["config"], "{\"type\": \"y\"}");
    cluster.delete(NADS, "other").await;
    cluster.until(NADS, "other", "made anew", |nad| nad["spec"]["config"] == "{\"type\":\"x\"}").await;
}

polynic_control_plane::on_a_real_server!(
    a_nad_follows_its_config_and_heals,
    a_hand_made_nad_is_adopted_only_if_it_says_the_same,
);
