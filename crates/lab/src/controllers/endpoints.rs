//! EndpointSlices and Endpoints: behind each Service with a selector, the addresses of the pods that it selects.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::action::{Action, Kind, Target};
use super::snapshot::Snapshot;
use super::{meta, pod_facts, pod_template};

/// The label with the name of a slice's Service.
pub const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "endpointslice-controller.k8s.io";

/// What to do about all Services.
pub fn decide(world: &Snapshot) -> Vec<Action> {
    let alive = world.services.iter().filter(|service| !meta::is_ending(*service));
    let with_spec = alive.filter_map(|service| Some((service, service.spec.as_ref()?)));
    with_spec
        .filter(|(_, spec)| has_endpoints(spec))
        .flat_map(|(service, spec)| one(world, service, spec))
        .collect()
}

fn has_endpoints(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName")
        && spec.selector.as_ref().is_some_and(|selector| !selector.is_empty())
}

fn one(world: &Snapshot, service: &Service, spec: &ServiceSpec) -> Vec<Action> {
    let wanted = spec.selector.clone().unwrap_or_default();
    let selected = |pod: &&Pod| wanted.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let pods: Vec<&Pod> = world
        .pods
        .iter()
        .filter(|pod| meta::same_namespace(*pod, service) && !pod_facts::has_ended(pod))
        .filter(selected)
        .collect();
    let mut actions = Vec::new();
    for family in ["IPv4", "IPv6"] {
        actions.extend(slice(world, service, spec, (&pods, family)));
    }
    actions.extend(endpoints(world, service, spec, &pods));
    actions
}

/// The families of a Service; one that was not given any has IPv4.
fn families(spec: &ServiceSpec) -> Vec<String> {
    spec.ip_families.clone().filter(|all| !all.is_empty()).unwrap_or_else(|| vec!["IPv4".to_owned()])
}

/// A pod's address of a family.
fn address(pod: &Pod, family: &str) -> Option<IpAddr> {
    let all = pod.status.as_ref()?.pod_ips.iter().flatten();
    all.filter_map(|ip| ip.ip.parse::<IpAddr>().ok()).find(|ip| ip.is_ipv4() == (family == "IPv4"))
}

/// The number that a Service's port has in a pod. Named ports are looked up in its containers.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.into_iter().find(|p| p.name.as_ref() == Some(name)).map(|p| p.container_port)
        }
    }
}

/// The ports as endpoints have them: numbers are those of the first pod that knows them.
fn ports(spec: &ServiceSpec, pods: &[&Pod]) -> Vec<Value> {
    let all = spec.ports.iter().flatten();
    all.filter_map(|port| {
        let number = pods.iter().find_map(|pod| target_port(port, pod))?;
        Some(json!({
            "name": port.name.clone().unwrap_or_default(), "port": number, "protocol": port.protocol.as_deref().unwrap_or("TCP"),
        }))
    })
    .collect()
}

fn slice(
    world: &Snapshot,
    service: &Service,
    spec: &ServiceSpec,
    (pods, family): (&[&Pod], &str),
) -> Option<Action> {
    let suffix = pod_template::hash_of(&json!([service.metadata.uid, family]));
    let name = format!("{}-{}", service.name_any(), suffix.get(..5).unwrap_or(&suffix));
    let known =
        world.slices.iter().find(|slice| meta::same_namespace(*slice, service) && slice.name_any() == name);
    if !families(spec).iter().any(|own| own == family) {
        return known.map(|slice| Action::delete(Target::of(Kind::EndpointSlice, slice)));
    }
    let members: Vec<Value> = pods.iter().filter_map(|pod| member(service, spec, pod, family)).collect();
    let (members, ports) = (json!(members), json!(ports(spec, pods)));
    let Some(known) = known else {
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name, "labels": {SERVICE: service.name_any(), MANAGED_BY: OURS},
                "ownerReferences": [meta::reference(Kind::Service, service)],
            },
            "addressType": family, "endpoints": members, "ports": ports,
        });
        return Some(Action::Create {
            kind: Kind::EndpointSlice,
            namespace: service.namespace().unwrap_or_default(),
            object,
        });
    };
    let posted = serde_json::to_value(known).unwrap_or_default();
    let same = same_list(&posted["endpoints"], &members) && same_list(&posted["ports"], &ports);
    (!same).then(|| {
        Action::patch(Target::of(Kind::EndpointSlice, known), json!({"endpoints": members, "ports": ports}))
    })
}

/// An absent list is an empty one.
fn same_list(a: &Value, b: &Value) -> bool {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    items(a) == items(b)
}

/// A pod as endpoint; none while it has no address.
fn member(service: &Service, spec: &ServiceSpec, pod: &Pod, family: &str) -> Option<Value> {
    let serving = pod_facts::is_ready(pod);
    let ready = (serving && !meta::is_ending(pod)) || spec.publish_not_ready_addresses == Some(true);
    let mut member = json!({
        "addresses": [address(pod, family)?],
        "conditions": {"ready": ready, "serving": serving, "terminating": meta::is_ending(pod)},
        "nodeName": pod_facts::node(pod),
        "targetRef": {"kind": "Pod", "name": pod.name_any(), "namespace": pod.namespace(), "uid": pod.uid()},
    });
    let pod_spec = pod.spec.as_ref()?;
    if pod_spec.subdomain.as_deref() == Some(&service.name_any())
        && let Some(hostname) = &pod_spec.hostname
    {
        member["hostname"] = json!(hostname);
    }
    Some(member)
}

/// The older form: the Service's first family only.
fn endpoints(world: &Snapshot, service: &Service, spec: &ServiceSpec, pods: &[&Pod]) -> Option<Action> {
    let family = families(spec).first().cloned().unwrap_or_default();
    let known = world
        .endpoints
        .iter()
        .find(|one| meta::same_namespace(*one, service) && one.name_any() == service.name_any());
    let (mut ready, mut not_ready) = (Vec::new(), Vec::new());
    for pod in pods.iter().filter(|pod| !meta::is_ending(**pod)) {
        let Some(ip) = address(pod, &family) else { continue };
        let one = json!({
            "ip": ip, "nodeName": pod_facts::node(pod),
            "targetRef": {"kind": "Pod", "name": pod.name_any(), "namespace": pod.namespace(), "uid": pod.uid()},
        });
        let serves = pod_facts::is_ready(pod) || spec.publish_not_ready_addresses == Some(true);
        if serves { ready.push(one) } else { not_ready.push(one) }
    }
    let mut subset = json!({"ports": ports(spec, pods)});
    for (key, list) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
        if !list.is_empty() {
            subset[key] = json!(list);
        }
    }
    let subsets =
        if subset.as_object().is_some_and(|map| map.len() > 1) { json!([subset]) } else { json!([]) };
    let Some(known) = known else {
        let object = json!({
            "apiVersion": "v1", "kind": "Endpoints", "subsets": subsets,
            "metadata": {"name": service.name_any(), "ownerReferences": [meta::reference(Kind::Service, service)]},
        });
        return Some(Action::Create {
            kind: Kind::Endpoints,
            namespace: service.namespace().unwrap_or_default(),
            object,
        });
    };
    let posted = serde_json::to_value(known).unwrap_or_default();
    let same = same_list(&posted["subsets"], &subsets);
    (!same).then(|| Action::patch(Target::of(Kind::Endpoints, known), json!({"subsets": subsets})))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{merged, object, pod, ready, told, world};
    use super::*;

    fn service(over: Value) -> Service {
        object(
            json!({
                "metadata": {"name": "s", "namespace": "n", "uid": "s"},
                "spec": {"selector": {"app": "a"}, "ipFamilies": ["IPv4", "IPv6"], "ports": [{"port": 80, "targetPort": "http"}]},
            }),
            over,
        )
    }

    fn backend(name: &str, number: u8, status: Value) -> Pod {
        let ports = json!([{"name": "http", "containerPort": 8080}]);
        let ips = json!([{"ip": format!("10.244.1.{number}")}, {"ip": format!("fd00::{number}")}]);
        let base = json!({
            "metadata": {"labels": {"app": "a"}}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": ports}]},
            "status": {"podIPs": ips},
        });
        pod(name, merged(base, json!({"status": status})))
    }

    fn created(actions: &[Action]) -> Vec<Value> {
        let objects = actions.iter().filter_map(|action| match action {
            Action::Create { object, .. } => Some(object.clone()),
            _ => None,
        });
        objects.collect()
    }

    #[test]
    fn each_family_has_a_slice_and_named_ports_are_looked_up() {
        let mut world = world(100);
        world.services = vec![service(json!({}))];
        world.pods = vec![backend("p1", 1, ready()), backend("p2", 2, json!({"phase": "Running"}))];
        let made = created(&decide(&world));
        let addresses = |slice: &Value| slice["endpoints"][0]["addresses"][0].clone();
        assert_eq!((addresses(&made[0]), addresses(&made[1])), (json!("10.244.1.1"), json!("fd00::1")));
        assert_eq!(made[0]["ports"][0]["port"], 8080);
        let ready: Vec<_> = made[0]["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["conditions"]["ready"].clone())
            .collect();
        assert_eq!(ready, [true, false]);
        assert_eq!(made[2]["subsets"][0]["addresses"][0]["ip"], "10.244.1.1");
        assert_eq!(made[2]["subsets"][0]["notReadyAddresses"][0]["ip"], "10.244.1.2");
    }

    #[test]
    fn nothing_is_written_while_nothing_changes() {
        let mut world = world(100);
        world.services = vec![service(json!({}))];
        world.pods = vec![backend("p1", 1, ready())];
        for made in created(&decide(&world)) {
            let placed = merged(made, json!({"metadata": {"namespace": "n"}}));
            match placed["kind"].as_str().unwrap() {
                "Endpoints" => world.endpoints.push(object(placed, json!({}))),
                _ => world.slices.push(object(placed, json!({}))),
            }
        }
        assert_eq!(decide(&world), []);
        world.pods[0] = backend("p1", 1, merged(ready(), json!({"phase": "Failed"})));
        assert_eq!(told(&decide(&world)).len(), 3);
    }

    #[test]
    fn services_without_selector_are_their_owners_business() {
        let mut world = world(100);
        world.services = vec![service(json!({"spec": {"selector": null}}))];
        assert_eq!(decide(&world), []);
    }
}
