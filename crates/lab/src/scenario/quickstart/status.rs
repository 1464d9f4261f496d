//! The network-status annotation of the quickstart.

use polynic_net::Family;
use serde_json::{Value, json};

use super::super::status_text;
use super::super::world::Place::Pod;
use super::super::{Finding, same, world::World};
use super::{ONE, TWO};

pub fn bytes(world: &World) -> Finding {
    for pod in [ONE, TWO] {
        let (text, rows) = world.network_status(pod)?;
        same(&text, &status_text::of(&rows))?;
    }
    Ok("both pods".to_owned())
}

fn row(world: &World, pod: &str, at: usize) -> Result<Value, String> {
    let (text, rows) = world.network_status(pod)?;
    rows.get(at).cloned().ok_or_else(|| format!("row {} is missing: {text}", at + 1))
}

pub fn default_row(world: &World) -> Finding {
    let view = world.look(Pod(ONE))?;
    let expected = json!({
        "name": "k8s-pod-network",
        "interface": "eth0",
        "ips": [view.address("eth0", Family::V4)?, view.address("eth0", Family::V6)?],
        "mac": view.mac("eth0")?,
        "default": true,
        "dns": {},
    });
    same_row(&row(world, ONE, 0)?, &expected)
}

pub fn net1_row(world: &World) -> Finding {
    let view = world.look(Pod(ONE))?;
    let expected = json!({
        "name": "default/macvlan-conf",
        "interface": "net1",
        "ips": [view.address("net1", Family::V4)?],
        "mac": view.mac("net1")?,
        "dns": {},
    });
    same_row(&row(world, ONE, 1)?, &expected)
}

/// The gateway's presence is not part of the story: spec/multus.md 10.1 row 9 leaves open what is written for a default route without
/// a next hop.
fn same_row(found: &Value, expected: &Value) -> Finding {
    let mut found = found.clone();
    if let Some(map) = found.as_object_mut() {
        map.remove("gateway");
    }
    if found == *expected {
        Ok(found.to_string())
    } else {
        Err(format!("found {found}, expected {expected}"))
    }
}

pub fn three_rows(world: &World) -> Finding {
    let (text, rows) = world.network_status(TWO)?;
    let view = world.look(Pod(TWO))?;
    if rows.len() != 3 {
        return Err(text);
    }
    for (row, link) in rows.iter().zip(["eth0", "net1", "net2"]) {
        same(&row["interface"], &json!(link))?;
        same(&row["mac"], &json!(view.mac(link)?))?;
        same(&row["ips"][0], &json!(view.address(link, Family::V4)?))?;
    }
    Ok("eth0, net1, net2, each with the address and MAC of its link".to_owned())
}
