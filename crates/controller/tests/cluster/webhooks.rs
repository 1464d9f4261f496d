//! The whole way of a write: API server, TLS, review, answer.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{Cluster, POOLS, RULES, SUBNETS, object, pool, refusal};

#[tokio::test]
async fn writes_are_completed_and_checked() {
    let cluster = Cluster::start().await;
    let _certificates = cluster.webhooks(RULES).await;
    let spec =
        json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.9", "10.6.0.1-10.6.0.8"], "gateway": "10.6.0.254"});
    let made = cluster.create(POOLS, &pool("blue", spec)).await;
    assert_eq!(made["spec"]["ipVersion"], 4);
    assert_eq!(made["spec"]["ips"], json!(["10.6.0.1-10.6.0.9"]));
    assert_eq!(made["metadata"]["finalizers"], json!(["spiderpool.spidernet.io"]));
    assert_eq!(made["metadata"]["labels"]["ipam.spidernet.io/ippool-cidr"], "10-6-0-0-16");
    assert_eq!(made["spec"]["default"], false, "the schema's default");

    let (code, why) =
        refusal(cluster.try_create(POOLS, &pool("red", json!({"subnet": "10.6.1.0/24"}))).await);
    assert_eq!(code, 422);
    let wanted = "admission webhook \"spiderippool.spiderpool.spidernet.io\" denied the request: ";
    assert!(
        why.starts_with(wanted) && why.contains("overlaps with subnet 10.6.0.0/16 of SpiderIPPool blue"),
        "{why}"
    );
    let (_, why) =
        refusal(cluster.try_patch(POOLS, "blue", &json!({"spec": {"subnet": "10.7.0.0/16"}})).await);
    assert!(why.contains("spec.subnet: Forbidden: cannot be changed"), "{why}");

    cluster.delete(POOLS, "blue").await;
    let (code, _) = refusal(cluster.try_patch(POOLS, "blue", &json!({"spec": {"disable": true}})).await);
    assert_eq!(code, 403, "it is being deleted");
    cluster.patch(POOLS, "blue", &json!({"metadata": {"finalizers": null}})).await;
    cluster.until_gone(POOLS, "blue").await;
}

#[tokio::test]
async fn a_subnet_adopts_new_pools_and_every_kind_has_its_defaults() {
    let cluster = Cluster::start().await;
    let _certificates = cluster.webhooks(RULES).await;
    let spec = json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.1-10.6.0.99"], "gateway": "10.6.0.254"});
    let subnet = cluster.create(SUBNETS, &object("SpiderSubnet", "s", spec)).await;
    let adopted =
        cluster.create(POOLS, &pool("p", json!({"subnet": "10.6.0.0/16", "ips": ["10.6.0.7"]}))).await;
    assert_eq!(adopted["metadata"]["ownerReferences"][0]["uid"], subnet["metadata"]["uid"]);
    assert_eq!(adopted["spec"]["gateway"], "10.6.0.254");

    let group = "/apis/spiderpool.spidernet.io/v2beta1";
    let coordinator =
        object("SpiderCoordinator", "default", json!({"podCIDRType": "cluster", "detectGateway": true}));
    let coordinator = cluster.create(&format!("{group}/spidercoordinators"), &coordinator).await;
    assert_eq!(
        (&coordinator["spec"]["vethMTU"], &coordinator["spec"]["detectGateway"]),
        (&json!(1500), &json!(true))
    );
    let reserved = object("SpiderReservedIP", "r", json!({"ips": ["10.6.0.1"]}));
    assert_eq!(
        cluster.create(&format!("{group}/spiderreservedips"), &reserved).await["spec"]["ipVersion"],
        4
    );
    let configs = format!("{group}/namespaces/default/spidermultusconfigs");
    let old = json!({"cniType": "macvlan", "macvlan": {"master": ["a"], "spiderpoolConfigPools": {"IPv4IPPool": ["p"]}}});
    let config = cluster.create(&configs, &object("SpiderMultusConfig", "m", old)).await;
    assert_eq!(config["spec"]["macvlan"]["ippools"]["ipv4"], json!(["p"]));
    assert_eq!(config["spec"]["macvlan"].get("spiderpoolConfigPools"), None);
    let (code, why) = refusal(
        cluster.try_create(&configs, &object("SpiderMultusConfig", "x", json!({"cniType": "sriov"}))).await,
    );
    assert!(code == 422 && why.contains("spec.sriov: Required value"), "{why}");
}

#[tokio::test]
async fn the_certificate_is_renewed_and_the_configurations_heal() {
    const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
    const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let cluster = Cluster::start().await;
    let certificates = cluster.webhooks(RULES).await;
    let secret = async || cluster.get(SECRETS, "spiderpool-controller-server-certs").await["data"].clone();
    let long_ago = Timestamp::now() - SignedDuration::from_hours(24 * 300);
    cluster.delete(SECRETS, "spiderpool-controller-server-certs").await;
    certificates.keep(long_ago).await.unwrap();
    let first = secret().await;
    certificates.keep(long_ago).await.unwrap();
    assert_eq!(secret().await, first, "a good certificate stays");

    certificates.keep(Timestamp::now()).await.unwrap();
    let second = secret().await;
    assert_ne!(second["tls.crt"], first["tls.crt"]);
    cluster.create(POOLS, &pool("p", json!({"subnet": "10.6.0.0/16"}))).await;

    let bundle = async || {
        let configuration = cluster.get(CONFIGURATIONS, "spiderpool-controller").await;
        configuration["webhooks"][0]["clientConfig"]["caBundle"].clone()
    };
    assert_eq!(bundle().await, second["ca.crt"]);
    let mut broken = cluster.get(CONFIGURATIONS, "spiderpool-controller").await["webhooks"].clone();
    broken[0]["clientConfig"]["caBundle"] = Value::Null;
    cluster.patch(CONFIGURATIONS, "spiderpool-controller", &json!({"webhooks": broken})).await;
    certificates.keep(Timestamp::now()).await.unwrap();
    assert_eq!(bundle().await, second["ca.crt"]);
    cluster.delete(CONFIGURATIONS, "spiderpool-controller").await;
    certificates.keep(Timestamp::now()).await.unwrap();
    assert_eq!(bundle().await, second["ca.crt"]);
}

#[tokio::test]
async fn what_is_switched_off_is_refused() {
    let cluster = Cluster::start().await;
    let rules = polynic_api::admission::Rules { ipv6: false, ..RULES };
    let _certificates = cluster.webhooks(rules).await;
    let (code, why) = refusal(cluster.try_create(POOLS, &pool("p", json!({"subnet": "fd00::/64"}))).await);
    assert!(code == 422 && why.contains("IPv6 is disabled"), "{why}");
}

#[tokio::test]
async fn a_pod_gets_the_networks_and_resources_of_its_group() {
    let cluster = Cluster::start().await;
    let _certificates = cluster.webhooks(RULES).await;
    let key = "cni.spidernet.io/rdma-resource-inject";
    let configs = "/apis/spiderpool.spidernet.io/v2beta1/namespaces/default/spidermultusconfigs";
    for (name, master) in [("b", "ens2"), ("a", "ens3")] {
        let spec = json!({"cniType": "macvlan", "macvlan": {"master": [master], "rdmaResourceName": format!("rdma/{master}"), "ippools": {"ipv4": ["p"]}}});
        let mut config = object("SpiderMultusConfig", name, spec);
        config["metadata"]["annotations"] = json!({key: "rail"});
        cluster.create(configs, &config).await;
    }
    let pod = |name: &str, annotations: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
               "spec": {"containers": [{"name": "c", "image": "i"}]}})
    };
    let pods = "/api/v1/namespaces/default/pods";
    let made = cluster.create(pods, &pod("web", json!({key: "rail"}))).await;
    assert_eq!(made["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"], "default/b,default/a");
    let limits = &made["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(limits, &json!({"rdma/ens2": "1", "rdma/ens3": "1"}));
    let (code, why) = refusal(cluster.try_create(pods, &pod("lost", json!({key: "nobody"}))).await);
    assert!(code == 403 && why.contains("no SpiderMultusConfig has the label"), "{code} {why}");
    let plain = cluster.create(pods, &pod("plain", json!({}))).await;
    assert_eq!(plain["metadata"]["annotations"].get("k8s.v1.cni.cncf.io/networks"), None);
    // A namespace speaks for its pods, unless it is left out.
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai", "annotations": {key: "rail"}}});
    cluster.create("/api/v1/namespaces", &space).await;
    let made = cluster.create("/api/v1/namespaces/ai/pods", &pod("web", json!({}))).await;
    assert_eq!(made["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"], "default/b,default/a");
    cluster.create("/api/v1/namespaces/kube-system/pods", &pod("own", json!({key: "nobody"}))).await;
}

polynic_control_plane::on_a_real_server!(
    writes_are_completed_and_checked,
    a_subnet_adopts_new_pools_and_every_kind_has_its_defaults,
    the_certificate_is_renewed_and_the_configurations_heal,
    what_is_switched_off_is_refused,
    a_pod_gets_the_networks_and_resources_of_its_group,
);
