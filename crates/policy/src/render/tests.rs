use std::fmt::Write as _;

use polynic_net::FwSet;
use serde_json::{Value, json};

use crate::{Attachment, ContainerPort, Index, Options, Pod, PodKey, Policy, PolicyKey};

use super::*;

fn pod(labels: &[(&str, &str)], attachments: &[(&str, &str, &[&str])]) -> Pod {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let attachments = attachments.iter().map(|(network, interface, addresses)| Attachment {
        network: (*network).to_owned(),
        interface: (*interface).to_owned(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
    });
    Pod {
        labels,
        node: "n1".into(),
        selects_networks: true,
        attachments: attachments.collect(),
        ..Pod::default()
    }
}

fn policy(name: &str, networks: &str, spec: Value) -> Policy {
    let annotations = json!({"k8s.v1.cni.cncf.io/policy-for": networks});
    let metadata = json!({"name": name, "namespace": "shop", "annotations": annotations});
    Policy::parse(&json!({"metadata": metadata, "spec": spec}))
}

/// A table as text, with short names in place of hashes.
fn text(table: &PodTable, policies: &[&str]) -> String {
    let ruleset = table.whole();
    let mut text = String::new();
    for (name, set) in &ruleset.sets {
        let elements: Vec<String> = match set {
            FwSet::Links(names) => names.iter().cloned().collect(),
            FwSet::Addresses(_, addresses) => addresses.iter().map(ToString::to_string).collect(),
            FwSet::Intervals(set) => set.to_texts(),
        };
        writeln!(text, "set {name}: {}", elements.join(" ")).unwrap();
    }
    for (name, chain) in &ruleset.chains {
        let hook = chain.base.as_ref().map(|base| format!(" hook {:?} {}", base.hook, base.priority));
        writeln!(text, "chain {name}{}", hook.unwrap_or_default()).unwrap();
        for body in &chain.rules {
            let exprs: Vec<String> = body.exprs.iter().map(expr).collect();
            writeln!(text, "  {}", exprs.join(" ")).unwrap();
        }
    }
    for policy in policies {
        let names = Names::of(&PolicyKey::new("shop", policy));
        text = text.replace(&names.interfaces()["smi-".len()..], policy);
    }
    text
}

fn expr(expr: &FwExpr) -> String {
    match expr {
        FwExpr::Iif(name) => format!("iif {name}"),
        FwExpr::Oif(name) => format!("oif {name}"),
        FwExpr::IifIn(set) => format!("iif @{set}"),
        FwExpr::OifIn(set) => format!("oif @{set}"),
        FwExpr::SrcIn { set, .. } => format!("from @{set}"),
        FwExpr::DstIn { set, .. } => format!("to @{set}"),
        FwExpr::Src { net, .. } => format!("from {net}"),
        FwExpr::KnownConnection => "known".into(),
        FwExpr::Protocol(number) => format!("proto {number}"),
        FwExpr::DstPorts { first, last } => format!("port {first}-{last}"),
        FwExpr::Icmpv6Types { first, last } => format!("icmpv6 {first}-{last}"),
        FwExpr::Verdict(FwVerdict::Jump(chain)) => format!("-> {chain}"),
        FwExpr::Verdict(verdict) => format!("{verdict:?}").to_lowercase(),
        other => panic!("{other:?}"),
    }
}

fn key(name: &str) -> PodKey {
    PodKey::new("shop", name)
}

fn shop() -> Index {
    let mut index = Index::new(Options { node: "n1".into(), ..Options::default() });
    let web = pod(&[("tier", "web")], &[("shop/overlay-b", "net1", &["10.60.0.5", "fd60::5"])]);
    index.set_pod(key("web"), web);
    let edge = pod(&[("tier", "edge")], &[("shop/overlay-b", "net1", &["10.60.0.7", "fd60::7"])]);
    index.set_pod(key("edge"), edge);
    index
}

#[test]
fn the_contracts_example() {
    let mut index = shop();
    index.set_policy(policy(
        "web-in",
        "overlay-b, infra/storage",
        json!({"podSelector": {"matchLabels": {"tier": "web"}}, "policyTypes": ["Ingress"], "ingress": [{
            "from": [{"podSelector": {"matchLabels": {"tier": "edge"}}},
                     {"ipBlock": {"cidr": "10.61.0.0/16", "except": ["10.61.9.0/24"]}}],
            "ports": [{"protocol": "TCP", "port": 8443}, {"protocol": "UDP", "port": 5000, "endPort": 5010}]}]}),
    ));
    let rendered = index.render(&key("web"));
    assert_eq!(rendered.policies, [PolicyKey::new("shop", "web-in")]);
    let expected = "\
set smi-web-in: net1
set snp-web-in_ingress_ipv4_cidr_0: 10.61.0.0-10.61.8.255 10.61.10.0-10.61.255.255
set snp-web-in_ingress_ipv4_net1_0: 10.60.0.7
set snp-web-in_ingress_ipv6_net1_0: fd60::7
chain cnp-web-in
  iif net1 from @snp-web-in_ingress_ipv4_cidr_0 proto 6 port 8443-8443 accept
  iif net1 from @snp-web-in_ingress_ipv4_cidr_0 proto 17 port 5000-5010 accept
  iif net1 from @snp-web-in_ingress_ipv4_net1_0 proto 6 port 8443-8443 accept
  iif net1 from @snp-web-in_ingress_ipv4_net1_0 proto 17 port 5000-5010 accept
  iif net1 from @snp-web-in_ingress_ipv6_net1_0 proto 6 port 8443-8443 accept
  iif net1 from @snp-web-in_ingress_ipv6_net1_0 proto 17 port 5000-5010 accept
chain common-ingress
  icmpv6 130-137 accept
  icmpv6 143-143 accept
chain ingress
  known accept
  -> common-ingress
  -> cnp-web-in
  drop
chain input hook Input 0
  iif @smi-web-in -> ingress
chain output hook Output 0
";
    assert_eq!(text(&rendered.table.unwrap(), &["web-in"]), expected);
    assert_eq!(index.render(&key("edge")), Rendered::default());
}

#[test]
fn several_policies_add_up_on_their_own_interfaces() {
    let mut index = shop();
    let both: [(&str, &str, &[&str]); 2] =
        [("shop/overlay-b", "net1", &["10.60.0.5"]), ("infra/storage", "net2", &["10.70.0.5"])];
    index.set_pod(key("web"), pod(&[("tier", "web")], &both));
    index.set_policy(policy("deny", "overlay-b", json!({"podSelector": {}})));
    index.set_policy(policy(
        "out",
        "infra/storage",
        json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"protocol": "UDP"}]}, {}]}),
    ));
    let expected = "\
set smi-deny: net1
set smi-out: net2
chain cnp-deny
chain cnp-out
  oif net2 proto 17 accept
  oif net2 accept
chain common-egress
  icmpv6 130-137 accept
  icmpv6 143-143 accept
chain common-ingress
  icmpv6 130-137 accept
  icmpv6 143-143 accept
chain egress
  known accept
  -> common-egress
  -> cnp-out
  drop
chain ingress
  known accept
  -> common-ingress
  -> cnp-deny
  drop
chain input hook Input 0
  iif @smi-deny -> ingress
chain output hook Output 0
  oif @smi-out -> egress
";
    assert_eq!(text(&index.render(&key("web")).table.unwrap(), &["deny", "out"]), expected);
}

/// The kernel checks all that can follow each jump.
#[test]
fn an_interface_leads_to_the_policies_once_however_many_isolate_it() {
    let mut index = shop();
    let both: [(&str, &str, &[&str]); 2] =
        [("shop/overlay-b", "net1", &["10.60.0.5"]), ("infra/storage", "net2", &["10.70.0.5"])];
    index.set_pod(key("web"), pod(&[], &both));
    for (name, networks) in
        [("a", "overlay-b"), ("b", "overlay-b"), ("c", "overlay-b, infra/storage"), ("d", "infra/storage")]
    {
        index.set_policy(policy(name, networks, json!({"podSelector": {}})));
    }
    let leads = |index: &mut Index| {
        let text = text(&index.render(&key("web")).table.unwrap(), &["a", "b", "c", "d"]);
        text.lines().filter(|line| line.ends_with("-> ingress")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(leads(&mut index), ["  iif @smi-a -> ingress", "  iif @smi-c -> ingress"]);
    index.remove_policy(&PolicyKey::new("shop", "a"), 0);
    index.remove_policy(&PolicyKey::new("shop", "c"), 0);
    assert_eq!(leads(&mut index), ["  iif @smi-b -> ingress", "  iif @smi-d -> ingress"]);
}

/// Somebody edits the annotation of a running pod, which has its interface all the same.
#[test]
fn what_is_attached_is_isolated_whether_the_pod_selects_it_or_not() {
    let mut index = shop();
    index.set_policy(policy("deny", "overlay-b", json!({"podSelector": {}})));
    let selects = pod(&[], &[]);
    let bare = Pod { selects_networks: false, attachments: Vec::new(), ..selects.clone() };
    index.set_pod(key("web"), selects);
    index.announce(&key("web"), [("shop/overlay-b".to_owned(), "net1".to_owned())]);
    let is_isolated = |index: &mut Index| index.render(&key("web")).table.is_some();
    assert!(is_isolated(&mut index));
    index.set_pod(key("web"), bare.clone());
    assert!(is_isolated(&mut index));
    index.set_pod(key("other"), bare);
    assert!(index.render(&key("other")).table.is_none());
    index.withdraw(&key("web"));
    assert!(!is_isolated(&mut index));
}

#[test]
fn names_of_ports_are_looked_up_at_the_end_that_listens() {
    let mut index = shop();
    let port = |name: &str, port| ContainerPort { name: name.into(), protocol: 6, port };
    let mut web = pod(&[("tier", "web")], &[("shop/overlay-b", "net1", &["10.60.0.5"])]);
    web.ports = vec![port("http", 8080)];
    index.set_pod(key("web"), web);
    let mut edge = pod(&[("tier", "edge")], &[("shop/overlay-b", "net1", &["10.60.0.7"])]);
    edge.ports = vec![port("http", 9090), port("other", 1)];
    index.set_pod(key("edge"), edge);
    let ports = json!([{"port": "http"}, {"port": "unknown"}]);
    let to = json!([{"podSelector": {"matchLabels": {"tier": "edge"}}}]);
    index.set_policy(policy(
        "named",
        "overlay-b",
        json!({"podSelector": {"matchLabels": {"tier": "web"}}, "ingress": [{"ports": ports}],
               "egress": [{"to": to, "ports": ports}]}),
    ));
    let text = text(&index.render(&key("web")).table.unwrap(), &["named"]);
    assert!(text.contains("iif net1 proto 6 port 8080-8080 accept"), "{text}");
    assert!(text.contains("set snp-named_egress_ipv4_net1_6_9090_0: 10.60.0.7\n"), "{text}");
    let rule = "oif net1 to @snp-named_egress_ipv4_net1_6_9090_0 proto 6 port 9090-9090 accept";
    assert!(text.contains(rule) && text.matches("accept\n").count() == 5 + 2 + 1, "{text}");
}

#[test]
fn a_network_of_one_family_has_sets_of_that_family_only() {
    let mut index = Index::new(Options { node: "n1".into(), ..Options::default() });
    let peer = |ips: &[&str]| pod(&[("tier", "edge")], &[("shop/lan", "net1", ips)]);
    index.set_pod(key("web"), peer(&["10.60.0.5"]));
    let from = json!([{"podSelector": {}}]);
    index.set_policy(policy("p", "lan", json!({"podSelector": {}, "ingress": [{"from": from}]})));
    let sets = |index: &mut Index| {
        let table = index.render(&key("web")).table.unwrap();
        text(&table, &["p"])
            .lines()
            .filter(|line| line.starts_with("set snp"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(sets(&mut index), ["set snp-p_ingress_ipv4_net1_0: 10.60.0.5"]);
    index.take_dirty();
    // Whose family it is does not matter: also of a pod that is no peer.
    let other = Pod { labels: Default::default(), ..peer(&["fd60::7"]) };
    index.set_pod(PodKey::new("elsewhere", "x"), other);
    assert!(index.take_dirty().contains(&key("web")));
    assert_eq!(
        sets(&mut index),
        ["set snp-p_ingress_ipv4_net1_0: 10.60.0.5", "set snp-p_ingress_ipv6_net1_0: "]
    );
    index.remove_pod(&PodKey::new("elsewhere", "x"), "");
    assert_eq!(sets(&mut index).len(), 1);
}

#[test]
fn peers_that_come_and_go_change_elements_only() {
    let mut index = shop();
    let from = json!([{"podSelector": {"matchLabels": {"tier": "edge"}}}]);
    index.set_policy(policy("p", "overlay-b", json!({"podSelector": {}, "ingress": [{"from": from}]})));
    let first = index.render(&key("web")).table.unwrap();
    index.take_dirty();
    for n in 0..1000 {
        let address = format!("10.60.{}.{}", 1 + n / 250, n % 250);
        let peer = pod(&[("tier", "edge")], &[("shop/overlay-b", "net1", &[&address])]);
        index.set_pod(key(&format!("edge-{n}")), Pod { node: "far".into(), ..peer });
    }
    index.remove_pod(&key("edge"), "");
    assert!(index.take_dirty().contains(&key("web")));
    let second = index.render(&key("web")).table.unwrap();
    let edits: Vec<String> = second.edits_from(&first).iter().map(ToString::to_string).collect();
    assert_eq!(edits.len(), 3, "{edits:?}");
    assert!(edits.iter().all(|edit| edit.contains("elements")), "{edits:?}");
    index.remove_policy(&PolicyKey::new("shop", "p"), 0);
    assert_eq!(index.render(&key("web")).table, None);
}

#[test]
fn networks_count_before_the_status_shows_them() {
    let mut index = shop();
    index.set_policy(policy("p", "overlay-b", json!({"podSelector": {}})));
    index.set_pod(key("new"), Pod { node: String::new(), ..pod(&[], &[]) });
    assert_eq!(index.render(&key("new")).table, None);
    index.announce(&key("new"), [("shop/overlay-b".to_owned(), "net1".to_owned())]);
    assert!(index.take_dirty().contains(&key("new")));
    assert!(index.render(&key("new")).table.is_some());
    index.withdraw(&key("new"));
    assert_eq!(index.render(&key("new")).table, None);
    // The status may say less, and whoever writes it is not asked.
    index.announce(&key("new"), [("shop/overlay-b".to_owned(), "net1".to_owned())]);
    index.set_pod(key("new"), pod(&[], &[("shop/other", "net1", &["10.60.0.9"])]));
    assert!(index.render(&key("new")).table.is_some());
}

#[test]
fn an_event_about_an_earlier_pod_changes_nothing() {
    let mut index = shop();
    index.set_policy(policy("p", "overlay-b", json!({"podSelector": {}})));
    let of = |uid: &str, version, network: &str| Pod {
        uid: uid.into(),
        version,
        ..pod(&[], &[(network, "net1", &["10.60.0.9"])])
    };
    index.set_pod(key("x"), of("new", 9, "shop/overlay-b"));
    index.remove_pod(&key("x"), "old");
    index.set_pod(key("x"), of("old", 8, "shop/other"));
    assert!(index.render(&key("x")).table.is_some());
}

#[test]
fn an_event_about_an_earlier_policy_changes_nothing() {
    let mut index = shop();
    let of = |version: &str, networks: &str| {
        let annotations = json!({"k8s.v1.cni.cncf.io/policy-for": networks});
        let metadata =
            json!({"name": "p", "namespace": "shop", "annotations": annotations, "resourceVersion": version});
        Policy::parse(&json!({"metadata": metadata, "spec": {"podSelector": {}}}))
    };
    index.set_policies_of("shop", vec![of("9", "overlay-b")], 9);
    index.set_policy(of("8", "other"));
    index.remove_policy(&PolicyKey::new("shop", "p"), 7);
    index.set_policies_of("shop", vec![], 8);
    assert!(index.render(&key("web")).table.is_some());
    index.set_policies_of("shop", vec![], 10);
    assert_eq!(index.render(&key("web")).table, None);
}

#[test]
fn types_of_plugins_can_be_a_condition() {
    let listed = Some(["macvlan".to_owned()].into());
    let mut index = Index::new(Options { node: "n1".into(), network_plugins: listed, ..Options::default() });
    index.set_pod(key("web"), pod(&[], &[("shop/overlay-b", "net1", &["10.60.0.5"])]));
    index.set_policy(policy("p", "overlay-b", json!({"podSelector": {}})));
    assert!(index.render(&key("web")).table.is_some(), "not known to be exempt");
    index.set_network("shop/overlay-b", Some("flannel".into()));
    assert_eq!(index.render(&key("web")).table, None);
    index.set_network("shop/overlay-b", Some("macvlan".into()));
    assert!(index.take_dirty().contains(&key("web")) && index.render(&key("web")).table.is_some());
}

#[test]
fn options_let_icmp_pass() {
    let options = Options { node: "n1".into(), accept_icmp: true, accept_icmpv6: true, ..Options::default() };
    let mut index = Index::new(options);
    index.set_pod(key("web"), pod(&[], &[("shop/overlay-b", "net1", &["10.60.0.5"])]));
    index.set_policy(policy("p", "overlay-b", json!({"podSelector": {}})));
    let text = text(&index.render(&key("web")).table.unwrap(), &["p"]);
    assert!(text.contains("  from 0.0.0.0/0 proto 1 accept\n  icmpv6 0-255 accept\n"), "{text}");
}
