//! The lab's use of the embedded API server, and clients of it.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use polynic_apiserver::{Authorization, Kubelets, Running, Server};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::manifest;
use crate::shape::Shape;
use crate::state::State;

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The definitions that come with polynic.
const CRDS: [&str; 1] = [include_str!("../../api/crds/k8s.cni.cncf.io_network-attachment-definitions.yaml")];

/// Starts the server on `own`.
pub async fn serve(state: &State, own: TcpListener, kubelets: Arc<dyn Kubelets>) -> Result<Running> {
    let spec = state.spec()?;
    let services = spec.shape.services;
    let mut config = polynic_apiserver::Config::new(state.api_directory());
    config.kubelets = Some(kubelets);
    config.service_ranges = vec![services.v4.to_string(), services.v6.to_string()];
    if spec.rbac {
        config.authorization = Authorization::Rbac;
    }
    config.context = format!("polynic-lab-{}", state.name());
    Server::start_on(config, own).await.map_err(|why| {
        use std::error::Error as _;
        let cause = why.source().map(|source| format!(": {source}")).unwrap_or_default();
        Error::Start(format!("{why}{cause}"))
    })
}

/// What a cluster has before anybody uses it.
pub async fn seed(client: &Client, shape: &Shape) -> Result<()> {
    for name in NAMESPACES {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        manifest::apply(client, &namespace, "").await?;
    }
    for definition in CRDS {
        define(client, definition).await?;
    }
    if shape.kubeadm_config {
        manifest::apply(client, &kubeadm_config(shape), "").await?;
    }
    Ok(())
}

/// Makes a kind known, and waits until it is served.
pub async fn define(client: &Client, definition: &str) -> Result<()> {
    for object in manifest::parse(definition)? {
        manifest::apply(client, &object, "").await?;
        wait_until_served(client, &object).await?;
    }
    Ok(())
}

/// What kubeadm leaves for others to read, as far as networks are concerned.
fn kubeadm_config(shape: &Shape) -> Value {
    let (pods, services) = (shape.pods, shape.services);
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: kubernetes\nnetworking:\n  dnsDomain: cluster.local\n  \
         podSubnet: {},{}\n  serviceSubnet: {},{}\n",
        pods.v4, pods.v6, services.v4, services.v6
    );
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
        "data": {"ClusterConfiguration": text},
    })
}

/// A definition is of use once its kind can be looked up.
async fn wait_until_served(client: &Client, definition: &Value) -> Result<()> {
    let text =
        |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (group, version, kind) =
        (text("/spec/group"), text("/spec/versions/0/name"), text("/spec/names/kind"));
    manifest::look_up(client, &kube::core::GroupVersionKind::gvk(&group, &version, &kind)).await.map(drop)
}

/// A client with the credentials of a kubeconfig file.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let bad = |why: String| Error::Input(format!("{}: {why}", kubeconfig.display()));
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(|why| bad(why.to_string()))?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await;
    Client::try_from(config.map_err(|why| bad(why.to_string()))?)
        .map_err(Error::api("connect to the API server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_configuration_is_yaml_with_the_networks() {
        let text =
            kubeadm_config(&Shape::default())["data"]["ClusterConfiguration"].as_str().unwrap().to_owned();
        let parsed: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(parsed["networking"]["podSubnet"], "10.244.0.0/16,fd00:10:244::/48");
    }
}
