//! Reading the sources from the API server and, for `auto`, from the node. A place that is not there says nothing; one that cannot be read
//! says so where it matters.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use polynic_api::spider::CoordinatorSpec;
use serde_json::Value;

use super::cni_conf;
use super::decide::PodCidrType;
use super::sources::{Cidrs, CiliumIpam, Found, Sources, cidr_list, of_arguments, of_kubeadm, of_node_args};

/// What the controller is told about coordination.
#[derive(Clone, Debug)]
pub struct CoordinatorSettings {
    /// The one object that counts.
    pub name: String,
    /// The node's CNI configurations.
    pub cni_directory: PathBuf,
    /// Namespace and name of Cilium's ConfigMap.
    pub cilium: (String, String),
    /// How often sources are looked at that nobody watches, while something is missing or Calico or Cilium count.
    pub period: Duration,
}

/// Reads everything that may matter for a spec.
///
/// # Errors
/// The API server does not answer, or not now: that says nothing about the cluster, and is no reason to keep pods from starting. What it refuses
/// about Calico and Cilium is part of the answer.
pub async fn observe(
    client: &Client,
    settings: &CoordinatorSettings,
    spec: &CoordinatorSpec,
) -> Result<Sources, kube::Error> {
    let kind = spec.pod_cidr_type.as_deref().unwrap_or("auto");
    let cni_conf = if kind == "auto" { cni_conf::first_name(&settings.cni_directory) } else { Ok(None) };
    let used = match kind {
        "auto" => cni_conf.as_ref().ok().map(|name| cni_conf::pod_cidr_type_of(name.as_deref())),
        "calico" => Some(PodCidrType::Calico),
        "cilium" => Some(PodCidrType::Cilium),
        _ => None,
    };
    let (nodes, distribution) = nodes(client).await?;
    Ok(Sources {
        explicit: Cidrs {
            pod: spec.overlay_pod_cidr.clone().unwrap_or_default(),
            service: spec.service_cidr.clone().unwrap_or_default(),
        },
        cni_conf,
        kubeadm: kubeadm(client).await?,
        arguments: arguments(client).await?,
        distribution: if distribution == Cidrs::default() { k0s(client).await } else { distribution },
        nodes,
        service_cidrs: service_cidrs(client).await?,
        calico: if used == Some(PodCidrType::Calico) { calico(client).await? } else { Ok(Vec::new()) },
        cilium: match used {
            Some(PodCidrType::Cilium) => cilium(client, &settings.cilium).await?,
            _ => Err("Cilium was not looked at".to_owned()),
        },
    })
}

async fn kubeadm(client: &Client) -> Result<Cidrs, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let map = api.get_opt("kubeadm-config").await?;
    let text = map.and_then(|map| map.data?.remove("ClusterConfiguration"));
    Ok(text.map(|text| of_kubeadm(&text)).unwrap_or_default())
}

/// Arguments of the control plane's static pods: of the controller manager, and of the API server for what that lacks.
async fn arguments(client: &Client) -> Result<Cidrs, kube::Error> {
    let manager = arguments_of(client, "kube-controller-manager").await?;
    if !manager.pod.is_empty() && !manager.service.is_empty() {
        return Ok(manager);
    }
    let server = arguments_of(client, "kube-apiserver").await?;
    let service = if manager.service.is_empty() { server.service } else { manager.service };
    Ok(Cidrs { pod: manager.pod, service })
}

async fn arguments_of(client: &Client, component: &str) -> Result<Cidrs, kube::Error> {
    let api: Api<Pod> = Api::all(client.clone());
    let pods = api.list(&ListParams::default().labels(&format!("component={component}"))).await?;
    let containers = pods.items.into_iter().filter_map(|pod| pod.spec?.containers.into_iter().next());
    let found = containers.map(|container| {
        let words: Vec<String> = container.command.into_iter().chain(container.args).flatten().collect();
        of_arguments(words.iter().map(String::as_str))
    });
    Ok(found.into_iter().find(|cidrs| *cidrs != Cidrs::default()).unwrap_or_default())
}

/// The nodes' own CIDRs, and what k3s or rke2 noted there.
async fn nodes(client: &Client) -> Result<(Vec<String>, Cidrs), kube::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let (mut pod_cidrs, mut distribution) = (Vec::new(), Cidrs::default());
    for node in api.list(&ListParams::default()).await?.items {
        let annotations = node.metadata.annotations.unwrap_or_default();
        let args = ["k3s.io/node-args", "rke2.io/node-args"].iter().find_map(|key| annotations.get(*key));
        if distribution == Cidrs::default() {
            distribution = args.map(|text| of_node_args(text)).unwrap_or_default();
        }
        let spec = node.spec.unwrap_or_default();
        let own = spec.pod_cidrs.unwrap_or_default().into_iter().chain(spec.pod_cidr);
        for cidr in own.flat_map(|text| cidr_list(&text)) {
            if !pod_cidrs.contains(&cidr) {
                pod_cidrs.push(cidr);
            }
        }
    }
    Ok((pod_cidrs, distribution))
}

/// k0s keeps its configuration in an object, if dynamic configuration is on.
async fn k0s(client: &Client) -> Cidrs {
    let listed = list(client, ("k0s.k0sproject.io", "v1beta1", "ClusterConfig", "clusterconfigs")).await;
    let Ok(Some(objects)) = listed else { return Cidrs::default() };
    let network =
        objects.into_iter().next().map(|object| object.data["spec"]["network"].clone()).unwrap_or_default();
    let texts = |keys: [&Value; 2]| keys.into_iter().filter_map(Value::as_str).flat_map(cidr_list).collect();
    let dual = &network["dualStack"];
    Cidrs {
        pod: texts([&network["podCIDR"], &dual["IPv6podCIDR"]]),
        service: texts([&network["serviceCIDR"], &dual["IPv6serviceCIDR"]]),
    }
}

/// ServiceCIDR objects of the newest version that the cluster has.
async fn service_cidrs(client: &Client) -> Result<Vec<String>, kube::Error> {
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let kind = ("networking.k8s.io", version, "ServiceCIDR", "servicecidrs");
        if let Some(objects) = list(client, kind).await? {
            let cidrs = objects.iter().filter(|object| object.metadata.deletion_timestamp.is_none());
            return Ok(cidrs.flat_map(|object| texts(&object.data["spec"]["cidrs"])).collect());
        }
    }
    Ok(Vec::new())
}

/// The CIDRs of IPPools that are in use.
async fn calico(client: &Client) -> Result<Found<Vec<String>>, kube::Error> {
    let listed = list(client, ("crd.projectcalico.org", "v1", "IPPool", "ippools")).await;
    Ok(match refused(listed)? {
        Ok(Some(objects)) => Ok(of_calico(&objects)),
        Ok(None) => Err("this cluster does not know Calico's IPPools".to_owned()),
        Err(why) => Err(format!("cannot list Calico's IPPools: {why}")),
    })
}

fn of_calico(objects: &[DynamicObject]) -> Vec<String> {
    let in_use = objects.iter().filter(|object| {
        object.metadata.deletion_timestamp.is_none() && object.data["spec"]["disabled"] != Value::Bool(true)
    });
    in_use
        .flat_map(|object| object.data["spec"]["cidr"].as_str().map(cidr_list).unwrap_or_default())
        .collect()
}

/// What the API server answers for good: that it is forbidden, which somebody has to change. Everything else passes.
fn refused<T>(answer: Result<T, kube::Error>) -> Result<Found<T>, kube::Error> {
    match answer {
        Ok(found) => Ok(Ok(found)),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Err(status.message.clone())),
        Err(error) => Err(error),
    }
}

async fn cilium(
    client: &Client,
    (namespace, name): &(String, String),
) -> Result<Found<CiliumIpam>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let data = match refused(api.get_opt(name).await)? {
        Ok(map) => map.and_then(|map| map.data),
        Err(why) => return Ok(Err(format!("cannot read ConfigMap {namespace}/{name}: {why}"))),
    };
    let Some(data) = data else { return Ok(Err(format!("there is no ConfigMap {namespace}/{name}"))) };
    let text = |key: &str| data.get(key).map(String::as_str).unwrap_or_default();
    match text("ipam") {
        "cluster-pool" | "cluster-pool-v2beta" => {
            let both = [text("cluster-pool-ipv4-cidr"), text("cluster-pool-ipv6-cidr")];
            // Several CIDRs of a family are separated by blanks there.
            let cidrs = both.iter().flat_map(|text| cidr_list(&text.replace(' ', ","))).collect();
            Ok(Ok(CiliumIpam::Pools(cidrs)))
        }
        "multi-pool" => Ok(cilium_pools(client).await?.map(CiliumIpam::Pools)),
        "kubernetes" => Ok(Ok(CiliumIpam::Kubernetes)),
        other => Ok(Err(format!(
            "Cilium's ipam mode {other:?} is not known: want cluster-pool, multi-pool or kubernetes"
        ))),
    }
}

async fn cilium_pools(client: &Client) -> Result<Found<Vec<String>>, kube::Error> {
    let listed = list(client, ("cilium.io", "v2alpha1", "CiliumPodIPPool", "ciliumpodippools")).await;
    Ok(match refused(listed)? {
        Ok(Some(objects)) => Ok(of_cilium(&objects)),
        Ok(None) => Err("this cluster does not know CiliumPodIPPools".to_owned()),
        Err(why) => Err(format!("cannot list CiliumPodIPPools: {why}")),
    })
}

fn of_cilium(objects: &[DynamicObject]) -> Vec<String> {
    let of = |object: &DynamicObject, family: &str| texts(&object.data["spec"][family]["cidrs"]);
    objects.iter().flat_map(|object| [of(object, "ipv4"), of(object, "ipv6")].concat()).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).flat_map(cidr_list).collect()
}

/// All objects of a kind by creation time; `None` if the cluster does not know the kind.
async fn list(
    client: &Client,
    (group, version, kind, plural): (&str, &str, &str, &str),
) -> Result<Option<Vec<DynamicObject>>, kube::Error> {
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    match api.list(&ListParams::default()).await {
        Ok(list) => {
            let mut objects = list.items;
            objects.sort_by_key(|object| {
                (object.metadata.creation_timestamp.as_ref().map(|at| at.0), object.metadata.name.clone())
            });
            Ok(Some(objects))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    /// While the API server is overloaded nobody knows whether Calico has pools: that must not keep pods from starting.
    #[test]
    fn a_refusal_is_an_answer_and_an_outage_is_none() {
        let failed = |code| {
            refused::<()>(Err(kube::Error::Api(Box::new(Status::failure("why", "r").with_code(code)))))
        };
        assert_eq!(failed(403).unwrap(), Err("why".to_owned()));
        for code in [401, 408, 429, 500, 503, 504] {
            assert!(failed(code).is_err(), "{code}");
        }
        assert_eq!(refused(Ok(1)).unwrap(), Ok(1));
    }
}
