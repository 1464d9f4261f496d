//! The lines of links, addresses, routes and rules, from the JSON of `ip`.

use serde_json::Value;

/// Keys of `linkinfo` that plugins decide about.
const DETAILS: [&str; 4] = ["mode", "id", "bcqueuelen", "vlan_filtering"];
/// The same of a bridge port.
const PORT_DETAILS: [&str; 2] = ["hairpin", "isolated"];

fn text(object: &Value, key: &str) -> String {
    match &object[key] {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn push(line: &mut String, word: &str, value: &str) {
    if !value.is_empty() {
        line.push_str(&format!(" {word} {value}"));
    }
}

fn has_flag(object: &Value, flag: &str) -> bool {
    object["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == flag))
}

/// A link and its addresses. `ip` prints an empty object for links that a filter leaves out.
pub(super) fn of_link(link: &Value) -> Vec<String> {
    let name = text(link, "ifname");
    if name.is_empty() {
        return Vec::new();
    }
    let info = &link["linkinfo"];
    let state = if has_flag(link, "UP") { "up" } else { "down" };
    let mut line = format!("link {name} {state} mtu {}", text(link, "mtu"));
    push(&mut line, "kind", &text(info, "info_kind"));
    push(&mut line, "master", &text(link, "master"));
    push(&mut line, "promiscuity", text(link, "promiscuity").trim_start_matches('0'));
    DETAILS.iter().for_each(|key| push(&mut line, key, &text(&info["info_data"], key)));
    PORT_DETAILS.iter().for_each(|key| push(&mut line, key, &text(&info["info_slave_data"], key)));
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    std::iter::once(line).chain(addresses.filter_map(|a| of_address(&name, a))).collect()
}

/// Link-local IPv6 addresses come and go with the carrier.
fn of_address(link: &str, address: &Value) -> Option<String> {
    let (local, scope) = (text(address, "local"), text(address, "scope"));
    if local.starts_with("fe80:") {
        return None;
    }
    let mut line = format!("addr {link} {local}/{}", text(address, "prefixlen"));
    push(&mut line, "peer", &text(address, "address"));
    push(&mut line, "brd", &text(address, "broadcast"));
    push(&mut line, "scope", &scope);
    for flag in ["noprefixroute", "secondary", "dadfailed", "dynamic"] {
        if address[flag] == true {
            line.push_str(&format!(" {flag}"));
        }
    }
    Some(line)
}

/// Not the local table, which follows from the addresses, and not what every link has.
pub(super) fn of_route(route: &Value) -> Option<String> {
    let (dst, table) = (text(route, "dst"), text(route, "table"));
    let routine = dst.starts_with("fe80:") || dst.starts_with("ff00:");
    if table == "local" || text(route, "dev") == "lo" || routine {
        return None;
    }
    let family = if is_ipv6(route) { 6 } else { 4 };
    let mut line = format!("route {family} {dst}");
    for (word, key) in [("type", "type"), ("via", "gateway"), ("dev", "dev"), ("proto", "protocol")] {
        push(&mut line, word, &text(route, key));
    }
    let metric = text(route, "metric");
    for (word, value) in
        [("scope", text(route, "scope")), ("src", text(route, "prefsrc")), ("metric", metric)]
    {
        push(&mut line, word, &value);
    }
    push(&mut line, "table", &table);
    if route["metrics"].is_array() {
        push(&mut line, "metrics", &text(route, "metrics"));
    }
    push(&mut line, "nexthops", &text(route, "nexthops"));
    Some(line)
}

/// Only IPv6 routes have a preference, and only they may be without address at all.
fn is_ipv6(route: &Value) -> bool {
    !route["pref"].is_null() || text(route, "dst").contains(':')
}

pub(super) fn of_rule(family: &str, rule: &Value) -> String {
    let mut line = format!("rule {family}");
    let Some(object) = rule.as_object() else { return line };
    for key in object.keys() {
        push(&mut line, key, &text(rule, key));
    }
    line
}
