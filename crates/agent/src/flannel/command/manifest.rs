//! kube-flannel's manifest, taken at its word: its init containers, its ConfigMap, and the command line of its daemon.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use polynic_cni::ConfList;
use polynic_flannel::{Backend, VxlanConf, WireguardConf};
use polynic_install::applets;
use serde_json::{Value, json};

use super::*;

const MANIFEST: &str = include_str!("../../../tests/manifests/kube-flannel.yaml");

fn object(kind: &str) -> Value {
    let all = MANIFEST.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    all.into_iter().find(|object| object["kind"] == kind).unwrap()
}

fn words(container: &Value) -> Vec<String> {
    let all = [&container["command"], &container["args"]];
    all.iter()
        .flat_map(|list| list.as_array().unwrap())
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

/// A container's root: what the image has, with the ConfigMap and the node's directories mounted.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for directory in ["usr/bin", "opt/cni/bin", "etc/cni/net.d", "etc/kube-flannel"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::write(at("usr/bin/polynic"), "the program").unwrap();
    symlink(at("usr/bin/polynic"), at("flannel")).unwrap();
    for (name, text) in object("ConfigMap")["data"].as_object().unwrap() {
        fs::write(at("etc/kube-flannel").join(name), text.as_str().unwrap()).unwrap();
    }
    root
}

/// A command of the manifest within a root.
fn run(container: &Value, root: &Path) {
    let inside = |word: String| match word.strip_prefix('/') {
        Some(path) => root.join(path).display().to_string(),
        None => word,
    };
    let words = words(container);
    let arguments: Vec<String> = words[1..].iter().cloned().map(inside).collect();
    match words[0].rsplit('/').next().unwrap() {
        "cp" => applets::cp(&arguments).unwrap(),
        "install-conf" => applets::install_conf(&arguments).unwrap(),
        other => panic!("the manifest runs {other}"),
    }
}

fn pod() -> Value {
    object("DaemonSet")["spec"]["template"]["spec"].clone()
}

#[test]
fn its_init_containers_install_the_plugin_and_its_configuration() {
    let root = root();
    let containers = pod()["initContainers"].as_array().unwrap().clone();
    // Twice: a node's pod starts again and again.
    for container in containers.iter().chain(&containers) {
        run(container, root.path());
    }
    // A file of its own, because the image's link leads nowhere on the node.
    let plugin = root.path().join("opt/cni/bin/flannel");
    assert!(fs::symlink_metadata(&plugin).unwrap().is_file());
    assert_eq!(fs::read_to_string(plugin).unwrap(), "the program");
    let list = fs::read(root.path().join("etc/cni/net.d/10-flannel.conflist")).unwrap();
    let list = ConfList::parse(&list).unwrap();
    let types: Vec<&str> = list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect();
    assert_eq!((list.name.as_str(), types), ("cbr0", vec!["flannel", "portmap"]));
    let left: Vec<_> = fs::read_dir(root.path().join("etc/cni/net.d")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn its_daemons_command_line_environment_and_network_are_understood() {
    let root = root();
    let container = pod()["containers"][0].clone();
    let environment = |name: &str| {
        let all = container["env"].as_array().unwrap().iter();
        let found = all.into_iter().find(|variable| variable["name"] == name)?;
        let field = || match found["valueFrom"]["fieldRef"]["fieldPath"].as_str()? {
            "metadata.name" => Some("kube-flannel-ds-x7k2p".to_owned()),
            "metadata.namespace" => Some("kube-flannel".to_owned()),
            _ => None,
        };
        found["value"].as_str().map(str::to_owned).or_else(field)
    };
    let words = words(&container);
    assert_eq!(words[0], "/opt/bin/flanneld");
    // The mount's place is the default.
    let file = root.path().join(NET_CONF.trim_start_matches('/'));
    let path = format!("--net-config-path={}", file.display());
    let flags = Flags::read(words[1..].iter().cloned().chain([path]), &environment).unwrap();
    let start = Start::read(&flags, &environment).unwrap();
    assert!(start.settings.rules.masquerade && start.settings.rules.forward);
    assert_eq!(start.settings.conf.backend, Backend::Vxlan(VxlanConf::default()));
    assert!(
        matches!(&start.node, WhichNode::OfPod { namespace, pod } if namespace == "kube-flannel" && pod == "kube-flannel-ds-x7k2p")
    );
    // The probes' port.
    assert_eq!(start.health.map(|address| address.port()), Some(8081));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let is_mounted = |path: &str| {
        mounts.iter().any(|mount| Path::new(path).starts_with(mount["mountPath"].as_str().unwrap()))
    };
    assert!(is_mounted(NET_CONF) && is_mounted(&start.subnet_file.display().to_string()));
    assert!(is_mounted(&start.key_file.display().to_string()));
}

/// What flannel's chart makes of its values.
#[test]
fn what_its_chart_can_write_is_understood_or_refused_by_name() {
    let of = |more: Value| {
        let mut conf = json!({"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}});
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        NetConf::parse(conf.to_string().as_bytes()).map_err(|why| why.to_string())
    };
    let backend = |backend: Value| of(json!({"Backend": backend})).map(|conf| conf.backend);
    assert!(of(json!({"IPv6Network": "fd60::/48", "EnableIPv6": true})).is_ok());
    assert!(
        of(json!({"Network": "", "EnableIPv4": false, "IPv6Network": "fd60::/48", "EnableIPv6": true}))
            .is_ok()
    );
    let all = json!({"Port": 4789, "VNI": 5, "GBP": true, "DirectRouting": true, "MTU": 1400, "MacPrefix": "0E-2A", "Type": "vxlan"});
    let expected =
        VxlanConf { vni: 5, port: 4789, mtu: Some(1400), gbp: true, learning: false, direct_routing: true };
    assert_eq!(backend(all), Ok(Backend::Vxlan(expected)));
    assert_eq!(backend(json!({"Type": "host-gw"})), Ok(Backend::HostGw));
    let all =
        json!({"Type": "wireguard", "ListenPort": 51830, "MTU": 1400, "PersistentKeepaliveInterval": 25});
    let expected = WireguardConf { port: 51830, mtu: Some(1400), keepalive: 25, ..WireguardConf::default() };
    assert_eq!(backend(all), Ok(Backend::Wireguard(expected)));
    for missing in ["udp", "alloc", "extension", "ipsec", "tencent-vpc"] {
        let why = backend(json!({"Type": missing})).unwrap_err();
        assert!(why.contains("does not offer") && why.contains(missing), "{why}");
    }
}
