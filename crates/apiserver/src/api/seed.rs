//! What exists from the start: the namespaces, the range that services get addresses from, the service of this server itself,
//! the two priority classes of the system, and the roles that every cluster has. All of it is one write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::own::{self, Owner};
use super::update::Part;
use super::{Api, Target, WriteOptions, create};
use crate::access::RBAC;
use crate::json::{child, text};
use crate::resource::Snapshot;
use crate::status::Status;
use crate::strategy::moment;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Where services get their addresses: of both families, the first being the one that they get unless they ask for more.
pub const SERVICE_RANGES: [&str; 2] = ["10.96.0.0/12", "fd00:10:96::/112"];
/// The roles and bindings that kube-apiserver makes, but for those of controllers that do not run here.
const ROLES: &str = include_str!("../../data/rbac-defaults.json");
/// Who is said to have written all this.
const MANAGER: &str = "kube-apiserver";

/// Group, plural, namespace and object.
type Row = (&'static str, &'static str, String, Value);

fn rows(ranges: &[String]) -> Result<Vec<Row>, Status> {
    let namespace = |name: &&str| ("", "namespaces", String::new(), json!({"metadata": {"name": name}}));
    let mut rows: Vec<Row> = NAMESPACES.iter().map(namespace).collect();
    let range = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ranges}});
    rows.push(("networking.k8s.io", "servicecidrs", String::new(), range));
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": server_address(ranges), "sessionAffinity": "None", "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    });
    rows.push(("", "services", "default".into(), service));
    rows.extend(priority_classes());
    rows.extend(roles()?);
    Ok(rows)
}

fn priority_classes() -> [Row; 2] {
    let class = |name: &str, value: u32, description: &str| {
        let class = json!({"metadata": {"name": name}, "value": value, "description": description});
        ("scheduling.k8s.io", "priorityclasses", String::new(), class)
    };
    let cluster = "Used for system critical pods that must run in the cluster.";
    let node = "Used for system critical pods that must not be moved from their node.";
    [
        class("system-cluster-critical", 2_000_000_000, cluster),
        class("system-node-critical", 2_000_001_000, node),
    ]
}

/// The roles and bindings, with what marks them as the server's own.
fn roles() -> Result<Vec<Row>, Status> {
    let objects: Vec<Value> = serde_json::from_str(ROLES).map_err(Status::internal)?;
    Ok(objects.into_iter().filter_map(role).collect())
}

fn role(mut object: Value) -> Option<Row> {
    let plural = match text(&object, "kind") {
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "Role" => "roles",
        "RoleBinding" => "rolebindings",
        _ => return None,
    };
    let metadata = child(&mut object, "metadata");
    child(metadata, "labels")["kubernetes.io/bootstrapping"] = json!("rbac-defaults");
    child(metadata, "annotations")["rbac.authorization.kubernetes.io/autoupdate"] = json!("true");
    let namespace = text(&object, "metadata.namespace").to_owned();
    Some((RBAC, plural, namespace, object))
}

/// The first address of the first range is this server's.
fn server_address(ranges: &[String]) -> Option<String> {
    let (network, _) = ranges.first()?.split_once('/')?;
    Some(match network.parse().ok()? {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) + 1).to_string(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) + 1).to_string(),
    })
}

impl Api {
    /// Makes what is not there.
    pub(super) async fn seed(&self, service_ranges: &[String]) -> Result<(), Status> {
        let kinds = self.registry.snapshot();
        let mut missing = Vec::new();
        for row in rows(service_ranges)? {
            let Some(target) = target(&kinds, &row) else { continue };
            if self.store.get(&target.key())?.is_none() {
                let object = prepared(&target, row.3)?;
                missing.push((target, object));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.store
            .transact(move |txn| {
                missing.into_iter().try_for_each(|(target, object)| {
                    create::insert(txn, &target, object, WriteOptions::default()).map(drop)
                })
            })
            .await
    }
}

fn target(kinds: &Snapshot, (group, plural, namespace, object): &Row) -> Option<Target> {
    let resource = kinds.find(group, "v1", plural)?;
    let name = text(object, "metadata.name").to_owned();
    Some(Target { resource: resource.clone(), namespace: namespace.clone(), name })
}

/// The object as a client's would be stored.
fn prepared(target: &Target, mut object: Value) -> Result<Value, Status> {
    crate::meta::check_shape(&target.resource, &mut object)?;
    create::check_place(target, &mut object)?;
    let options = WriteOptions { manager: MANAGER.into(), ..WriteOptions::default() };
    let object = Owner::new(target, Part::Main, &options).updated(&own::nothing(&target.resource), object)?;
    let mut object = create::prepare(target, object, Timestamp::now())?;
    if target.resource.plural == "servicecidrs" {
        object["status"] = ready();
    }
    Ok(object)
}

/// Says that a range is in use, as the real server's controller does.
fn ready() -> Value {
    json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": moment(Timestamp::now()),
        "message": "Kubernetes default Service CIDR is ready",
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_the_range_is_the_servers() {
        let first = |range: &str| server_address(&[range.to_owned()]);
        assert_eq!(first("10.233.0.0/18").as_deref(), Some("10.233.0.1"));
        assert_eq!(first("fd00:10:96::/112").as_deref(), Some("fd00:10:96::1"));
        assert_eq!(first("nonsense"), None);
    }

    #[test]
    fn every_bound_role_is_among_the_roles() {
        let rows = roles().unwrap();
        let is_there = |plural: &str, name: &str| {
            rows.iter().any(|row| row.1 == plural && text(&row.3, "metadata.name") == name)
        };
        for (_, plural, _, object) in rows.iter().filter(|row| row.1.ends_with("bindings")) {
            let roles = plural.replace("bindings", "s");
            let name = text(object, "roleRef.name");
            assert!(is_there(&roles, name), "{plural} {name}");
        }
    }
}
