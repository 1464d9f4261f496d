//! Cutting ranges into slices for nodes: the replaced `node-slice-controller` (spec/whereabouts.md 7).
//!
//! Everything is compared with what it should be, again and again; a write is bound to the version that was read, so several of these
//! harm nobody.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use polynic_api::nad;
use polynic_api::whereabouts::{NODE_SLICE_POOL, NodeSlice, NodeSlicePoolStatus};
use polynic_ipam::whereabouts::{Slice, cut, hand_out};
use serde_json::{Value, json};

use super::objects::Objects;
use crate::request;
use crate::retry::Problem;

/// What one look has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sliced {
    /// Pools that were made, changed or removed.
    pub changed: Vec<String>,
    /// What cannot be done, each naming its pool.
    pub problems: Vec<String>,
}

/// A network that wants its range cut.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    range: String,
    size: String,
    owner: Value,
}

/// Looks at everything once.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn slice(client: Client, namespace: &str) -> Result<Sliced, String> {
    let objects = Objects { client, namespace: namespace.to_owned() };
    Slicer { objects, sliced: Sliced::default() }.run().await.map_err(|problem| problem.to_string())
}

struct Slicer {
    objects: Objects,
    sliced: Sliced,
}

impl Slicer {
    async fn run(mut self) -> Result<Sliced, Problem> {
        let pools = self.objects.list(NODE_SLICE_POOL).await?;
        let nads = self.objects.list_at(&request::nads(&self.objects.namespace)).await?;
        let nodes = self.objects.list_at("/api/v1/nodes").await?;
        let nodes: BTreeSet<String> = nodes.iter().map(|node| name(node).to_owned()).collect();
        let mut wishes: BTreeMap<String, Vec<Wish>> = BTreeMap::new();
        for (pool, wish) in nads.iter().filter_map(wish) {
            wishes.entry(pool).or_default().push(wish);
        }
        for pool in pools.iter().filter(|pool| !wishes.contains_key(name(pool)) && is_ours(pool)) {
            self.objects.remove(NODE_SLICE_POOL, pool).await?;
            self.sliced.changed.push(name(pool).to_owned());
        }
        for (pool, wishes) in &wishes {
            let before = pools.iter().find(|object| name(object) == pool);
            match wanted(pool, wishes, before, &nodes) {
                Err(why) => self.sliced.problems.push(format!("{pool}: {why}")),
                Ok((object, left)) => {
                    let problem = |node| format!("{pool}: there is no slice left for node {node}");
                    self.sliced.problems.extend(left.into_iter().map(problem));
                    self.write(pool, object, before).await?;
                }
            }
        }
        Ok(self.sliced)
    }

    async fn write(&mut self, pool: &str, object: Value, before: Option<&Value>) -> Result<(), Problem> {
        if before == Some(&object) {
            return Ok(());
        }
        match self.objects.put_with_status(NODE_SLICE_POOL, pool, &object, before.is_some()).await {
            Ok(()) => self.sliced.changed.push(pool.to_owned()),
            // Somebody else wrote it, or it went with its last owner: the next look sees what.
            Err(Problem::Conflict(_) | Problem::NotFound(_)) => {}
            Err(problem) => return Err(problem),
        }
        Ok(())
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether only networks own it: what somebody made by hand has no owner and stays.
fn is_ours(pool: &Value) -> bool {
    let owners = pool["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| !owners.is_empty() && owners.iter().all(|owner| owner["kind"] == nad::KIND))
}

/// Name of the pool, and what is wanted of it; none if the network wants no slices.
fn wish(nad: &Value) -> Option<(String, Wish)> {
    let config: Value = serde_json::from_str(nad["spec"]["config"].as_str()?).ok()?;
    let plugins = config["plugins"].as_array().map_or(std::slice::from_ref(&config), Vec::as_slice);
    let ipam = plugins.iter().map(|plugin| &plugin["ipam"]).find(|ipam| ipam["type"] == "whereabouts")?;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let size = text(&ipam["node_slice_size"])?;
    let range = text(&ipam["range"]).or_else(|| text(&ipam["ipRanges"][0]["range"]))?;
    let pool =
        text(&ipam["network_name"]).or_else(|| text(&config["name"])).unwrap_or_else(|| name(nad).to_owned());
    let api_version = format!("{}/{}", nad::GROUP, nad::VERSION);
    let owner = json!({"apiVersion": api_version, "kind": nad::KIND, "name": name(nad), "uid": nad["metadata"]["uid"]});
    Some((pool, Wish { range, size, owner }))
}

/// The object as it should be, and the nodes that get no slice.
fn wanted(
    pool: &str,
    wishes: &[Wish],
    before: Option<&Value>,
    nodes: &BTreeSet<String>,
) -> Result<(Value, Vec<String>), String> {
    let Some(first) = wishes.first() else { return Err("nobody wants it".to_owned()) };
    if let Some(other) = wishes.iter().find(|w| (&w.range, &w.size) != (&first.range, &first.size)) {
        return Err(format!(
            "networks {} and {} share it, but have different ranges or sizes of slices",
            first.owner["name"], other.owner["name"]
        ));
    }
    let slices = cut(&first.range, &first.size).map_err(|why| why.to_string())?;
    let spec = json!({"range": first.range, "sliceSize": first.size});
    let mut object = before.cloned().unwrap_or_else(|| json!({"metadata": {"name": pool}}));
    // Another range or size: everything is cut anew.
    let kept = if object["spec"] == spec { handed_out(&object) } else { Vec::new() };
    let (slices, left) = hand_out(slices, &kept, nodes);
    let entry = |slice: Slice| NodeSlice { node_name: slice.node, slice_range: slice.range };
    let status = NodeSlicePoolStatus { allocations: slices.into_iter().map(entry).collect() };
    object["metadata"]["ownerReferences"] = Value::Array(wishes.iter().map(|w| w.owner.clone()).collect());
    object["spec"] = spec;
    object["status"] = serde_json::to_value(status).map_err(|why| why.to_string())?;
    Ok((object, left))
}

fn handed_out(object: &Value) -> Vec<Slice> {
    let status: NodeSlicePoolStatus = serde_json::from_value(object["status"].clone()).unwrap_or_default();
    status.allocations.into_iter().map(|s| Slice { node: s.node_name, range: s.slice_range }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, ipam: &Value) -> Value {
        let config = json!({"cniVersion": "1.0.0", "name": format!("conf-of-{name}"), "plugins": [
            {"type": "macvlan", "ipam": ipam}, {"type": "sbr"}]});
        json!({"metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": {"config": config.to_string()}})
    }

    #[test]
    fn pools_have_the_name_of_the_space_or_of_the_configuration() {
        let whereabouts = |keys: Value| {
            let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24", "node_slice_size": "/26"});
            keys.as_object().unwrap().iter().for_each(|(key, value)| ipam[key] = value.clone());
            wish(&network("lan", &ipam)).map(|(pool, wish)| (pool, wish.range))
        };
        let named = |pool: &str, range: &str| Some((pool.to_owned(), range.to_owned()));
        assert_eq!(whereabouts(json!({})), named("conf-of-lan", "10.0.0.0/24"));
        assert_eq!(whereabouts(json!({"network_name": "blue"})), named("blue", "10.0.0.0/24"));
        let more = json!({"range": "", "ipRanges": [{"range": "10.1.0.0/24"}, {"range": "fd00::/64"}]});
        assert_eq!(whereabouts(more), named("conf-of-lan", "10.1.0.0/24"));
        assert_eq!(whereabouts(json!({"node_slice_size": ""})), None);
        assert_eq!(whereabouts(json!({"type": "host-local"})), None);
    }

    #[test]
    fn networks_that_share_a_pool_must_agree() {
        let ipam = |size: &str| json!({"type": "whereabouts", "range": "10.0.0.0/24", "node_slice_size": size, "network_name": "blue"});
        let wishes = |sizes: [&str; 2]| {
            ["a", "b"]
                .iter()
                .zip(sizes)
                .map(|(name, size)| wish(&network(name, &ipam(size))).unwrap().1)
                .collect::<Vec<_>>()
        };
        let nodes = BTreeSet::from(["n1".to_owned()]);
        let (object, left) = wanted("blue", &wishes(["/26", "/26"]), None, &nodes).unwrap();
        assert_eq!((object["metadata"]["ownerReferences"].as_array().unwrap().len(), left.len()), (2, 0));
        assert!(is_ours(&object));
        let (again, _) = wanted("blue", &wishes(["/26", "/26"]), Some(&object), &nodes).unwrap();
        assert_eq!(again, object);
        let why = wanted("blue", &wishes(["/26", "/27"]), None, &nodes).unwrap_err();
        assert!(why.contains("have different ranges or sizes"), "{why}");
    }
}
