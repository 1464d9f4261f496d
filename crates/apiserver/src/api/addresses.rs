//! Addresses and node ports of Services: given out when a service is written, taken back when it goes. An address that is
//! given out is an IPAddress object, as in the real server, so the same one is never given out twice; where addresses come from are
//! the ServiceCIDR objects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Target;
use crate::entropy;
use crate::json::{carry, child, integer, items, text};
use crate::resource::Resource;
use crate::status::{Cause, Status};
use crate::store::Txn;
use crate::strategy::{moment, needs_address, needs_node_ports};

const SERVICES: &str = "core/services/";
const CIDRS: &str = "networking.k8s.io/servicecidrs/";
const ADDRESSES: &str = "networking.k8s.io/ipaddresses/";
/// Ports of nodes that services may use.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

fn is_service(resource: &Resource) -> bool {
    resource.prefix(None) == SERVICES
}

/// Gives `service` what it needs and has not; `old` is what it was. Does nothing to objects of other kinds.
pub(super) fn assign(
    txn: &mut Txn<'_, '_>,
    target: &Target,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !is_service(&target.resource) {
        return Ok(());
    }
    let refuse = |causes| Status::invalid(target.resource.subject_kind(&target.name), causes);
    if needs_address(&service["spec"]) {
        let ranges = ranges(txn)?;
        families(&mut service["spec"], &ranges).map_err(|cause| refuse(vec![cause]))?;
        addresses(txn, target, service, &ranges)?.map_err(|cause| refuse(vec![cause]))?;
    }
    if needs_node_ports(&service["spec"]) {
        node_ports(txn, target, service)?.map_err(|cause| refuse(vec![cause]))?;
    }
    match old {
        Some(old) => take_back(txn, old, items(&service["spec"], "clusterIPs")),
        None => Ok(()),
    }
}

/// Takes back what `object` had, which is gone.
pub(super) fn release(txn: &mut Txn<'_, '_>, resource: &Resource, object: &Value) -> Result<(), Status> {
    if is_service(resource) { take_back(txn, object, &[]) } else { Ok(()) }
}

fn take_back(txn: &mut Txn<'_, '_>, old: &Value, kept: &[Value]) -> Result<(), Status> {
    for address in items(old, "spec.clusterIPs").iter().filter(|address| !kept.contains(address)) {
        let key = format!("{ADDRESSES}{}", address.as_str().unwrap_or_default());
        if let Some(taken) =
            txn.get(&key)?.filter(|taken| text(taken, "spec.parentRef.name") == text(old, "metadata.name"))
        {
            txn.remove(&key, taken)?;
        }
    }
    Ok(())
}

/// A range of addresses that services get theirs from.
struct Range {
    family: &'static str,
    first: u128,
    size: u128,
}

impl Range {
    fn parse(cidr: &str) -> Option<Self> {
        let (address, bits) = cidr.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        let (family, width, value) = match address.parse().ok()? {
            IpAddr::V4(address) => ("IPv4", 32, u128::from(u32::from(address))),
            IpAddr::V6(address) => ("IPv6", 128, u128::from(address)),
        };
        let size = 1u128.checked_shl(width - bits.min(width)).unwrap_or(u128::MAX);
        Some(Self { family, first: value & !(size - 1), size })
    }

    fn nth(&self, offset: u128) -> IpAddr {
        let value = self.first + offset;
        match self.family {
            "IPv4" => Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX)).into(),
            _ => Ipv6Addr::from(value).into(),
        }
    }

    /// Neither the network's own address nor, in IPv4, the one for everybody.
    fn usable(&self) -> u128 {
        self.size.saturating_sub(if self.family == "IPv4" { 2 } else { 1 })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (family, value) = match address {
            IpAddr::V4(address) => ("IPv4", u128::from(u32::from(address))),
            IpAddr::V6(address) => ("IPv6", u128::from(address)),
        };
        family == self.family && value > self.first && value - self.first <= self.usable()
    }
}

fn ranges(txn: &Txn<'_, '_>) -> Result<Vec<Range>, Status> {
    let mut ranges = Vec::new();
    for (_, object) in txn.scan(CIDRS)? {
        ranges.extend(items(&object, "spec.cidrs").iter().filter_map(Value::as_str).filter_map(Range::parse));
    }
    Ok(ranges)
}

/// Settles which families the service has: what it asks for, as far as the cluster has them.
fn families(spec: &mut Value, ranges: &[Range]) -> Result<(), Cause> {
    let has = |family: &str| ranges.iter().any(|range| range.family == family);
    let first = ranges.first().map_or("IPv4", |range| range.family);
    let both = has("IPv4") && has("IPv6");
    let free = text(spec, "clusterIP") == "None" && spec["selector"].as_object().is_none_or(|s| s.is_empty());
    let wanted = items(spec, "ipFamilies").to_vec();
    if !free && text(spec, "ipFamilyPolicy") == "RequireDualStack" && !both {
        let detail = "this cluster is not configured for dual-stack services";
        return Err(Cause::invalid("spec.ipFamilyPolicy", "RequireDualStack", detail));
    }
    for (i, family) in wanted.iter().filter_map(Value::as_str).enumerate() {
        if !free && !has(family) {
            let field = format!("spec.ipFamilies[{i}]");
            return Err(Cause::invalid(field, family, "not configured on this cluster"));
        }
    }
    if free && wanted.is_empty() && text(spec, "ipFamilyPolicy").is_empty() {
        spec["ipFamilyPolicy"] = json!("RequireDualStack");
    }
    if text(spec, "ipFamilyPolicy").is_empty() {
        let policy = if wanted.len() > 1 { "RequireDualStack" } else { "SingleStack" };
        spec["ipFamilyPolicy"] = json!(policy);
    }
    let own = match text(spec, "clusterIP").parse() {
        Ok(IpAddr::V6(_)) => "IPv6",
        Ok(IpAddr::V4(_)) => "IPv4",
        Err(_) => first,
    };
    let mut all: Vec<Value> = if wanted.is_empty() { vec![json!(own)] } else { wanted };
    let two = text(spec, "ipFamilyPolicy") != "SingleStack" && (both || free);
    if two && all.len() == 1 {
        all.push(json!(if all[0] == "IPv4" { "IPv6" } else { "IPv4" }));
    }
    spec["ipFamilies"] = json!(all);
    Ok(())
}

/// One address for each family; those that the service names already are claimed unless they are its own.
fn addresses(
    txn: &mut Txn<'_, '_>,
    target: &Target,
    service: &mut Value,
    ranges: &[Range],
) -> Result<Result<(), Cause>, Status> {
    let spec = child(service, "spec");
    if text(spec, "clusterIP") == "None" || items(spec, "clusterIPs").first().is_some_and(|ip| ip == "None") {
        spec["clusterIP"] = json!("None");
        spec["clusterIPs"] = json!(["None"]);
        return Ok(Ok(()));
    }
    let mut own: Vec<String> =
        items(spec, "clusterIPs").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if own.is_empty() && !text(spec, "clusterIP").is_empty() {
        own.push(text(spec, "clusterIP").into());
    }
    let asked = json!(own);
    let families: Vec<String> =
        items(spec, "ipFamilies").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    for (i, family) in families.iter().enumerate() {
        let address = match own.get(i) {
            Some(address) => claim(txn, target, ranges, address)?,
            None => pick(txn, ranges, family)?,
        };
        match address {
            Ok(address) if own.len() > i => own[i] = address.to_string(),
            Ok(address) => own.push(address.to_string()),
            Err(why) => {
                let asked = if asked == json!([]) { Value::Null } else { asked };
                return Ok(Err(Cause::invalid_value("spec.clusterIPs", &asked, &why)));
            }
        }
    }
    for (address, family) in own.iter().zip(&families) {
        note(txn, target, address, family)?;
    }
    let spec = child(service, "spec");
    spec["clusterIP"] = json!(own.first());
    spec["clusterIPs"] = json!(own);
    Ok(Ok(()))
}

fn belongs_to(taken: &Value, target: &Target) -> bool {
    text(taken, "spec.parentRef.name") == target.name
        && text(taken, "spec.parentRef.namespace") == target.namespace
}

fn claim(
    txn: &Txn<'_, '_>,
    target: &Target,
    ranges: &[Range],
    wanted: &str,
) -> Result<Result<IpAddr, String>, Status> {
    let failed = |why: &str| format!("failed to allocate IP {wanted}: {why}");
    let Ok(address) = wanted.parse::<IpAddr>() else { return Ok(Err(failed("not a valid address"))) };
    match txn.get(&format!("{ADDRESSES}{address}"))? {
        Some(taken) if belongs_to(&taken, target) => return Ok(Ok(address)),
        Some(_) => return Ok(Err(failed("provided IP is already allocated"))),
        None => {}
    }
    if !ranges.iter().any(|range| range.contains(address)) {
        return Ok(Err(failed("the provided network does not match the current range")));
    }
    Ok(Ok(address))
}

/// A free address of the family: any one, and from there the next free.
fn pick(txn: &Txn<'_, '_>, ranges: &[Range], family: &str) -> Result<Result<IpAddr, String>, Status> {
    let start = u128::from_le_bytes(entropy::bytes().map_err(Status::internal)?);
    for range in ranges.iter().filter(|range| range.family == family && range.usable() > 0) {
        let usable = range.usable();
        for step in 0..usable.min(1 << 20) {
            let address = range.nth(1 + start.wrapping_add(step) % usable);
            if !txn.has(&format!("{ADDRESSES}{address}"))? {
                return Ok(Ok(address));
            }
        }
    }
    Ok(Err(format!("failed to allocate a serviceIP: range is full ({family})")))
}

/// Writes down who has the address.
fn note(txn: &mut Txn<'_, '_>, target: &Target, address: &str, family: &str) -> Result<(), Status> {
    let key = format!("{ADDRESSES}{address}");
    if txn.has(&key)? {
        return Ok(());
    }
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": family,
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {
            "name": address, "labels": labels, "uid": entropy::uuid().map_err(Status::internal)?,
            "creationTimestamp": moment(Timestamp::now()),
        },
        "spec": {"parentRef": {"resource": "services", "namespace": target.namespace, "name": target.name}},
    });
    txn.put(&key, object)?;
    Ok(())
}

fn node_ports(txn: &Txn<'_, '_>, target: &Target, service: &mut Value) -> Result<Result<(), Cause>, Status> {
    let mut used = Vec::new();
    for (key, other) in txn.scan(SERVICES)? {
        if key != target.key() {
            used.extend(items(&other, "spec.ports").iter().filter_map(used_port));
        }
    }
    let count = items(service, "spec.ports").len();
    for p in 0..count {
        let port = &mut service["spec"]["ports"][p];
        let protocol = text(port, "protocol").to_owned();
        let field = format!("spec.ports[{p}].nodePort");
        let number = match integer(port, "nodePort").filter(|number| *number != 0) {
            Some(number) if !NODE_PORTS.contains(&number) => {
                let detail =
                    "provided port is not in the valid range. The range of valid ports is 30000-32767";
                return Ok(Err(Cause::invalid_value(field, &json!(number), detail)));
            }
            Some(number) if used.contains(&(number, protocol.clone())) => {
                return Ok(Err(Cause::invalid_value(
                    field,
                    &json!(number),
                    "provided port is already allocated",
                )));
            }
            Some(number) => number,
            None => match free_port(&used, &protocol)? {
                Some(number) => number,
                None => return Ok(Err(Cause::invalid_value(field, &Value::Null, "range is full"))),
            },
        };
        used.push((number, protocol));
        port["nodePort"] = json!(number);
    }
    if service["spec"]["healthCheckNodePort"] == 0 {
        carry("healthCheckNodePort", &Value::Null, child(service, "spec"));
    }
    Ok(Ok(()))
}

fn used_port(port: &Value) -> Option<(i64, String)> {
    Some((integer(port, "nodePort")?, text(port, "protocol").to_owned()))
}

fn free_port(used: &[(i64, String)], protocol: &str) -> Result<Option<i64>, Status> {
    let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    let start = i64::from(u16::from_le_bytes(entropy::bytes().map_err(Status::internal)?));
    let candidates = (0..count).map(|step| NODE_PORTS.start() + (start + step) % count);
    Ok(candidates.into_iter().find(|port| !used.iter().any(|(taken, of)| taken == port && of == protocol)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(mut spec: Value, cidrs: &[&str]) -> Result<Value, Cause> {
        let ranges: Vec<Range> = cidrs.iter().filter_map(|cidr| Range::parse(cidr)).collect();
        families(&mut spec, &ranges).map(|()| json!([spec["ipFamilyPolicy"], spec["ipFamilies"]]))
    }

    #[test]
    fn families_follow_the_cluster_and_what_is_asked_for() {
        let single = &["10.96.0.0/12"][..];
        assert_eq!(settle(json!({}), single), Ok(json!(["SingleStack", ["IPv4"]])));
        assert_eq!(settle(json!({}), &["fd00::/108"]), Ok(json!(["SingleStack", ["IPv6"]])));
        let prefers = json!({"ipFamilyPolicy": "PreferDualStack"});
        assert_eq!(settle(prefers.clone(), single), Ok(json!(["PreferDualStack", ["IPv4"]])));
        let both = &["10.96.0.0/12", "fd00::/108"];
        assert_eq!(settle(prefers, both), Ok(json!(["PreferDualStack", ["IPv4", "IPv6"]])));
        assert!(settle(json!({"ipFamilyPolicy": "RequireDualStack"}), single).is_err());
        assert!(settle(json!({"ipFamilies": ["IPv6"]}), single).is_err());
        let headless = json!({"clusterIP": "None"});
        assert_eq!(settle(headless, single), Ok(json!(["RequireDualStack", ["IPv4", "IPv6"]])));
    }

    #[test]
    fn a_range_excludes_its_ends() {
        let range = Range::parse("10.0.0.0/30").unwrap();
        assert_eq!((range.usable(), range.nth(1).to_string()), (2, "10.0.0.1".into()));
        let inside = ["10.0.0.1", "10.0.0.2"].map(|ip| range.contains(ip.parse().unwrap()));
        let outside =
            ["10.0.0.0", "10.0.0.3", "10.0.0.4", "::1"].map(|ip| range.contains(ip.parse().unwrap()));
        assert_eq!((inside, outside), ([true; 2], [false; 4]));
    }
}
