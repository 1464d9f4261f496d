//! The allocator's store.

use std::path::Path;

use kube::Client;
use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, Patch, PatchParams, PostParams};
use polynic_cluster::addresses::{KubeStore, StoreOptions};
use polynic_cluster::client_from;
use polynic_ipam::{
    Assigned, Controller, Endpoint, EndpointInterface, EndpointWrite, FixedOwner, PodKey, PoolWrite, Record,
    Store, WriteError,
};
use serde_json::{Value, json};

const POOLS: &str = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools";
const ENDPOINTS: &str = "/apis/spiderpool.spidernet.io/v2beta1/namespaces/default/spiderendpoints";

struct World {
    client: Client,
    store: KubeStore,
}

impl World {
    async fn new(client: Client) -> Self {
        for crd in polynic_api::spider::CRDS {
            let crd: Value = serde_saphyr::from_str(crd).unwrap();
            post(&client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
        }
        for path in [POOLS, ENDPOINTS] {
            served(&client, path).await;
        }
        let node =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"rack": "a"}}});
        post(&client, "/api/v1/nodes", &node).await;
        let options = StoreOptions { node: "n1".into(), agent_namespace: "kube-system".into() };
        let store = KubeStore::start(client.clone(), options);
        assert!(!store.is_synced());
        store.synced().await;
        Self { client, store }
    }

    async fn pool(&self, name: &str, spec: Value) -> Value {
        let pool = json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
                          "metadata": {"name": name}, "spec": spec});
        post(&self.client, POOLS, &pool).await
    }
}

/// A definition is served a moment after it is there.
async fn served(client: &Client, path: &str) {
    let list = || Request::new(path).list(&Default::default()).unwrap();
    while client.request::<Value>(list()).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn post(client: &Client, path: &str, object: &Value) -> Value {
    let request = Request::new(path).create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
    client.request(request).await.unwrap_or_else(|why| panic!("{path}: {why}"))
}

async fn get(client: &Client, path: &str, name: &str) -> Option<Value> {
    let request = Request::new(path).get(name, &GetParams::default()).unwrap();
    match client.request(request).await {
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        read => Some(read.unwrap()),
    }
}

fn endpoint(pod_uid: &str) -> Endpoint {
    let own = Assigned { address: "10.9.0.1/16".parse().unwrap(), pool: "p".into(), gateway: None };
    let interface = EndpointInterface { nic: "eth0".into(), ipv4: Some(own), ..EndpointInterface::default() };
    Endpoint {
        key: PodKey::new("default", "web-0"),
        object_uid: String::new(),
        resource_version: String::new(),
        terminating: false,
        uid: pod_uid.into(),
        node: "n1".into(),
        interfaces: vec![interface],
        owner_kind: "Pod".into(),
        owner_name: "web-0".into(),
        owned_by_pod: true,
    }
}

async fn pools_are_written_only_at_the_version_that_was_read(world: &World) {
    world.pool("p", json!({"subnet": "10.9.0.0/16", "ips": ["10.9.0.1-10.9.0.9"]})).await;
    let store = &world.store;
    while store.pools().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let pool = store.pool("p").await.unwrap().unwrap();
    assert_eq!(store.pool("q").await.unwrap(), None);
    let mut records = pool.records.clone();
    records.insert("10.9.0.1".parse().unwrap(), Record::new(PodKey::new("default", "web-0"), "u", "eth0"));
    let resource_version = pool.resource_version.clone();
    let write = PoolWrite { pool: "p".into(), resource_version, records };
    let version = store.write_pool(write.clone()).await.unwrap();
    assert_eq!(store.write_pool(write.clone()).await, Err(WriteError::Conflict));
    let gone = PoolWrite { pool: "q".into(), ..write.clone() };
    assert_eq!(store.write_pool(gone).await, Err(WriteError::Gone));
    let pool = store.pool("p").await.unwrap().unwrap();
    assert_eq!((&pool.resource_version, &pool.records), (&version, &write.records));
    let status = get(&world.client, POOLS, "p").await.unwrap()["status"].clone();
    assert_eq!(status["allocatedIPCount"], 1);
    // Everything given back: the member is absent.
    let empty = PoolWrite { pool: "p".into(), resource_version: version, records: Default::default() };
    store.write_pool(empty).await.unwrap();
    let status = get(&world.client, POOLS, "p").await.unwrap()["status"].clone();
    assert_eq!((status.get("allocatedIPs"), &status["allocatedIPCount"]), (None, &json!(0)));
}

async fn pods_are_read_with_their_surroundings(world: &World) -> String {
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let set = post(&world.client, "/apis/apps/v1/namespaces/default/statefulsets", &set).await;
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": set["metadata"]["uid"], "controller": true});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "default", "ownerReferences": [owner]},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let pod = post(&world.client, "/api/v1/namespaces/default/pods", &pod).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let store = &world.store;
    let mut pod = store.pod(&PodKey::new("default", "web-0"), "").await.unwrap().unwrap();
    assert_eq!((pod.uid.as_str(), pod.node.as_str(), pod.is_alive()), (uid.as_str(), "n1", true));
    assert_eq!(store.pod(&PodKey::new("default", "web-1"), "").await.unwrap(), None);
    assert!(store.pod(&PodKey::new("default", "../../nodes/n1"), "").await.is_err());
    assert_eq!(store.node_labels("n1").await.unwrap()["rack"], "a");
    let labels = store.namespace("default").await.unwrap().labels;
    assert_eq!(labels["kubernetes.io/metadata.name"], "default");
    assert!(store.fixed_owner(&pod).await.unwrap().wants("web-1"));
    pod.controller.as_mut().unwrap().name = "gone".into();
    assert_eq!(store.fixed_owner(&pod).await.unwrap(), FixedOwner::Gone);
    uid
}

async fn the_deployment_above_a_replica_set_is_found(world: &World) {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    let deployment =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
    let deployment = post(&world.client, "/apis/apps/v1/namespaces/default/deployments", &deployment).await;
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": deployment["metadata"]["uid"], "controller": true});
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web-7f", "ownerReferences": [owner]}, "spec": spec});
    let set = post(&world.client, "/apis/apps/v1/namespaces/default/replicasets", &set).await;
    let uid = set["metadata"]["uid"].as_str().unwrap().to_owned();
    let of = |uid: &str| Controller {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        name: "web-7f".into(),
        uid: uid.into(),
    };
    let parent = world.store.controller_of("default", &of(&uid)).await.unwrap().unwrap();
    assert_eq!((parent.kind.as_str(), parent.name.as_str()), ("Deployment", "web"));
    assert_eq!(world.store.controller_of("default", &of("another")).await.unwrap(), None);
}

async fn endpoints_live_with_their_pod_and_go_by_uid(world: &World, pod_uid: &str) {
    let (store, key) = (&world.store, PodKey::new("default", "web-0"));
    assert_eq!(store.endpoint(&key).await.unwrap(), None);
    let create = EndpointWrite::Create(endpoint(pod_uid));
    store.write_endpoint(create.clone()).await.unwrap();
    assert_eq!(store.write_endpoint(create).await, Err(WriteError::Conflict));
    let mut read = store.endpoint(&key).await.unwrap().unwrap();
    assert_eq!(read.interfaces, endpoint(pod_uid).interfaces);
    let object = get(&world.client, ENDPOINTS, "web-0").await.unwrap();
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], pod_uid);
    read.interfaces.clear();
    store.write_endpoint(EndpointWrite::Update(read.clone())).await.unwrap();
    assert_eq!(store.write_endpoint(EndpointWrite::Update(read.clone())).await, Err(WriteError::Conflict));
    assert_eq!(store.endpoint(&key).await.unwrap().unwrap().interfaces, []);
    let delete = |object_uid: &str| EndpointWrite::Delete { key: key.clone(), object_uid: object_uid.into() };
    store.write_endpoint(delete("another")).await.unwrap();
    assert!(store.endpoint(&key).await.unwrap().is_some());
    store.write_endpoint(delete(&read.object_uid)).await.unwrap();
    assert_eq!(store.endpoint(&key).await.unwrap(), None);
    store.write_endpoint(delete(&read.object_uid)).await.unwrap();
}

/// An endpoint that is being deleted waits for our finalizer, and keeps those of others.
async fn a_marked_endpoint_is_let_go_of(world: &World, pod_uid: &str) {
    let (store, key) = (&world.store, PodKey::new("default", "web-0"));
    store.write_endpoint(EndpointWrite::Create(endpoint(pod_uid))).await.unwrap();
    let patch = json!({"metadata": {"finalizers": ["spiderpool.spidernet.io", "example.com/other"]}});
    let patch =
        Request::new(ENDPOINTS).patch("web-0", &PatchParams::default(), &Patch::Merge(patch)).unwrap();
    let _: Value = world.client.request(patch).await.unwrap();
    let delete = Request::new(ENDPOINTS).delete("web-0", &DeleteParams::default()).unwrap();
    let _: Value = world.client.request(delete).await.unwrap();
    let marked = store.endpoint(&key).await.unwrap().unwrap();
    assert!(marked.terminating);
    store.write_endpoint(EndpointWrite::Delete { key, object_uid: marked.object_uid }).await.unwrap();
    let left = get(&world.client, ENDPOINTS, "web-0").await.unwrap();
    assert_eq!(left["metadata"]["finalizers"], json!(["example.com/other"]));
}

pub async fn all(kubeconfig: &Path) {
    let world = World::new(client_from(Some(kubeconfig)).await.unwrap().unwrap()).await;
    pools_are_written_only_at_the_version_that_was_read(&world).await;
    let uid = pods_are_read_with_their_surroundings(&world).await;
    the_deployment_above_a_replica_set_is_found(&world).await;
    endpoints_live_with_their_pod_and_go_by_uid(&world, &uid).await;
    a_marked_endpoint_is_let_go_of(&world, &uid).await;
}

#[test]
fn the_store_on_the_embedded_api_server() {
    let (_directory, kubeconfig) = crate::embedded();
    crate::block_on(all(&kubeconfig));
}
