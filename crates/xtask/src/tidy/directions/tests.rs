use serde_json::json;

use super::*;

fn graph(edges: &[(&str, &[&str])]) -> Graph {
    Graph {
        members: edges
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .filter(|name| rank(name).is_some())
            .collect(),
        edges: edges
            .iter()
            .map(|(name, used)| ((*name).to_owned(), used.iter().map(|used| (*used).to_owned()).collect()))
            .collect(),
    }
}

#[test]
fn later_rooms_may_use_earlier_ones() {
    let graph = graph(&[
        ("polynic-plugins", &["polynic-kernel", "polynic-cni"]),
        ("polynic-kernel", &["polynic-net", "netlink-sys"]),
        ("polynic-cni", &["serde_json"]),
        ("polynic-net", &[]),
        ("polynic-bench", &["polynic", "polynic-lab"]),
    ]);
    assert_eq!(problems(&graph), Vec::<String>::new());
}

#[test]
fn an_earlier_room_must_not_use_a_later_one() {
    let graph = graph(&[("polynic-net", &["polynic-attach"]), ("polynic-attach", &[])]);
    assert!(problems(&graph)[0].contains("polynic-net: must not use polynic-attach"));
}

#[test]
fn nobody_uses_a_tool() {
    for user in ["polynic", "polynic-bench"] {
        assert_eq!(
            problems(&graph(&[(user, &["polynic-xtask"]), ("polynic-xtask", &[])])).len(),
            1,
            "{user}"
        );
    }
}

#[test]
fn a_forbidden_crate_is_found_through_others_and_the_way_is_shown() {
    let graph = graph(&[("polynic-plugins", &["a"]), ("a", &["b"]), ("b", &["tokio", "a"])]);
    assert_eq!(problems(&graph), ["polynic-plugins: must not reach a -> b -> tokio"]);
}

#[test]
fn the_shortest_way_is_shown() {
    let graph = graph(&[("polynic-cni", &["a", "z"]), ("a", &["b"]), ("b", &["kube"]), ("z", &["kube"])]);
    assert_eq!(problems(&graph), ["polynic-cni: must not reach z -> kube"]);
}

#[test]
fn every_room_with_a_ban_exists() {
    for (name, _) in FORBIDDEN {
        assert!(ROOMS.contains(&name), "{name}");
    }
}

#[test]
fn a_crate_that_is_no_room_is_named() {
    let mut graph = graph(&[]);
    graph.members.push("polynic-stuff".to_owned());
    assert!(problems(&graph)[0].starts_with("polynic-stuff: no room"));
}

#[test]
fn development_dependencies_do_not_count() {
    let dependency = |package: &str, kind: Value| json!({ "pkg": package, "dep_kinds": [{ "kind": kind }] });
    let metadata = json!({
        "packages": [
            { "id": "1", "name": "polynic-net" },
            { "id": "2", "name": "tokio" },
            { "id": "3", "name": "serde" },
        ],
        "workspace_members": ["1"],
        "resolve": { "nodes": [
            { "id": "1", "deps": [dependency("2", json!("dev")), dependency("3", Value::Null)] },
            { "id": "2", "deps": [] },
        ] },
    });
    let graph = Graph::parse(&metadata).unwrap();
    assert_eq!(graph.members, ["polynic-net"]);
    assert_eq!(graph.edges["polynic-net"], BTreeSet::from(["serde".to_owned()]));
    assert_eq!(problems(&graph), Vec::<String>::new());
}

#[test]
fn metadata_of_another_shape_is_an_error() {
    assert!(Graph::parse(&json!({ "packages": [] })).is_err());
    assert!(Graph::parse(&json!([])).is_err());
}
