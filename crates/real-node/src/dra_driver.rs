//! A driver of dynamic resource allocation with devices that are nothing but names: it registers with kubelet and says yes to every claim. What it
//! has is in ResourceSlices, which the test writes.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;

use crate::space::Space;
use crate::unary;

/// Where kubelet looks for plugins that want to be known.
const REGISTRY: &str = "/var/lib/kubelet/plugins_registry";
/// Where drivers have their sockets.
const PLUGINS: &str = "/var/lib/kubelet/plugins";

/// Serves the driver of that name on a machine until the test ends. kubelet finds it by itself.
///
/// # Panics
/// The sockets cannot be made.
pub fn serve_claims(space: &Space, driver: &str) {
    let inside = format!("{PLUGINS}/{driver}.sock");
    let (sockets, registry) = (space.outside(PLUGINS), space.outside(REGISTRY));
    [&sockets, &registry].into_iter().for_each(|directory| std::fs::create_dir_all(directory).unwrap());
    unary::serve(sockets.join(format!("{driver}.sock")), Arc::new(claims));
    let info = PluginInfo {
        kind: "DRAPlugin".to_owned(),
        name: driver.to_owned(),
        endpoint: inside,
        versions: vec!["v1.DRAPlugin".to_owned()],
    };
    unary::serve(
        registry.join(format!("{driver}-reg.sock")),
        Arc::new(move |asked| registration(&info, asked)),
    );
}

/// The question for the plugin's name is empty, the word that it is registered is not.
fn registration(info: &PluginInfo, question: &[u8]) -> Vec<u8> {
    if question.is_empty() { info.encode_to_vec() } else { Vec::new() }
}

/// A claim needs no preparation, and nothing is to be taken back.
fn claims(question: &[u8]) -> Vec<u8> {
    let asked = Claims::decode(question).unwrap();
    let claims = asked.claims.into_iter().map(|claim| (claim.uid, Nothing {})).collect();
    Prepared { claims }.encode_to_vec()
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct PluginInfo {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    endpoint: String,
    #[prost(string, repeated, tag = "4")]
    versions: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Claims {
    #[prost(message, repeated, tag = "1")]
    claims: Vec<Claim>,
}

#[derive(Clone, PartialEq, Message)]
struct Claim {
    #[prost(string, tag = "2")]
    uid: String,
}

#[derive(Clone, PartialEq, Message)]
struct Prepared {
    #[prost(map = "string, message", tag = "1")]
    claims: HashMap<String, Nothing>,
}
