//! The pod's default routes, when a selection element asks for some (spec/multus.md 8.1 step 6, spec/decisions.md).
//!
//! Afterwards exactly the requested next hops are the pod's default routes: every other delegate gives up its own.

use std::net::IpAddr;

use polynic_cni::JsonMap;
use polynic_cni::cache::{Cache, Key};
use polynic_cni::{Error, RuntimeConf, Version};
use serde_json::{Value, json};

use crate::cluster::PodNetns;
use crate::delegate_conf::{DelegateConf, Filter};
use crate::select::SelectError;

/// Decides which delegates give up the default routes of which family. Nothing happens unless one asks for default routes.
pub(crate) fn assign(list: &mut [DelegateConf]) -> Result<(), SelectError> {
    if list.iter().all(|delegate| delegate.request.default_route.is_none()) {
        return Ok(());
    }
    let hops = |delegate: &DelegateConf| delegate.request.default_route.clone().unwrap_or_default();
    let all: Vec<IpAddr> = list.iter().flat_map(hops).collect();
    let v4 = all.iter().filter(|hop| hop.is_ipv4()).count();
    if v4 > 1 || all.len() - v4 > 1 {
        return Err(SelectError::SeveralNextHops);
    }
    for delegate in list {
        let own = hops(delegate);
        delegate.filter =
            Filter { v4: !own.iter().any(IpAddr::is_ipv4), v6: !own.iter().any(IpAddr::is_ipv6) };
    }
    Ok(())
}

/// Does the delegate take part?
pub(crate) fn concerns(delegate: &DelegateConf) -> bool {
    let supplies = delegate.request.default_route.as_ref().is_some_and(|hops| !hops.is_empty());
    !delegate.is_auxiliary && (delegate.filter.v4 || delegate.filter.v6 || supplies)
}

/// The next hops of the pod's default routes that a delegate supplies.
pub(crate) fn hops(delegate: &DelegateConf) -> &[IpAddr] {
    delegate.request.default_route.as_deref().unwrap_or_default()
}

/// Replaces the default routes of the delegate's interface, in the kernel.
pub(crate) fn apply(netns: &dyn PodNetns, delegate: &DelegateConf, conf: &RuntimeConf) -> Result<(), Error> {
    netns
        .delete_default_routes(&conf.netns, &conf.ifname)
        .map_err(|why| why.within("error deleting default gateway"))?;
    for hop in delegate.request.default_route.iter().flatten() {
        netns
            .add_default_route(&conf.netns, &conf.ifname, *hop)
            .map_err(|why| why.within("error setting default gateway"))?;
    }
    Ok(())
}

/// The same in the cached result, so that CHECK finds what it expects.
pub(crate) fn edit_cache(
    cache: &Cache<'_>,
    delegate: &DelegateConf,
    conf: &RuntimeConf,
    hops: &[IpAddr],
) -> Result<(), Error> {
    let key = Key { network: &delegate.list.name, container_id: &conf.container_id, ifname: &conf.ifname };
    let edited = cache.read(key).and_then(|entry| {
        let Some(mut entry) = entry else { return Ok(()) };
        edit_result(&mut entry.result, hops);
        cache.write(&entry)
    });
    edited.map_err(|why| why.within("error editing the cached result"))
}

fn edit_result(result: &mut JsonMap, hops: &[IpAddr]) {
    let version = result.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
    if Version::or_oldest(version).is_ok_and(|version| version >= Version::V0_3_0) {
        return replace(result, hops.iter().map(|hop| route(*hop, "::0/0")));
    }
    for (family, is_family) in [("ip4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("ip6", IpAddr::is_ipv6)] {
        if let Some(Value::Object(map)) = result.get_mut(family) {
            replace(map, hops.iter().filter(|hop| is_family(hop)).map(|hop| route(*hop, "::/0")));
        }
    }
}

/// Drops the default routes under `routes` and appends others.
fn replace(map: &mut JsonMap, added: impl Iterator<Item = Value>) {
    let mut routes = map.get("routes").and_then(Value::as_array).cloned().unwrap_or_default();
    routes.retain(|route| !is_default(route));
    routes.extend(added);
    match routes.is_empty() {
        true => drop(map.remove("routes")),
        false => drop(map.insert("routes".to_owned(), Value::Array(routes))),
    }
}

fn is_default(route: &Value) -> bool {
    route.get("dst").and_then(Value::as_str).is_some_and(|dst| dst.ends_with("/0"))
}

fn route(hop: IpAddr, v6: &str) -> Value {
    json!({"dst": if hop.is_ipv4() { "0.0.0.0/0" } else { v6 }, "gw": hop.to_string()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delegate(hops: Option<&[&str]>) -> DelegateConf {
        let mut delegate = DelegateConf::default();
        delegate.request.default_route =
            hops.map(|hops| hops.iter().map(|hop| hop.parse().unwrap()).collect());
        delegate
    }

    fn filters(list: &mut [DelegateConf]) -> Vec<(bool, bool)> {
        assign(list).unwrap();
        list.iter().map(|delegate| (delegate.filter.v4, delegate.filter.v6)).collect()
    }

    #[test]
    fn nothing_happens_unless_somebody_asks() {
        let mut list = [delegate(None), delegate(None)];
        assert_eq!(filters(&mut list), [(false, false); 2]);
        assert!(!list.iter().any(concerns));
    }

    #[test]
    fn who_supplies_a_family_keeps_it_and_all_others_give_it_up() {
        let mut list = [delegate(None), delegate(Some(&["10.0.0.1"])), delegate(Some(&["fd00::1"]))];
        assert_eq!(filters(&mut list), [(true, true), (false, true), (true, false)]);
        assert!(list.iter().all(concerns));
        let mut both = [delegate(None), delegate(Some(&["10.0.0.1", "fd00::1"]))];
        assert_eq!(filters(&mut both), [(true, true), (false, false)]);
        assert!(both.iter().all(concerns));
    }

    #[test]
    fn an_empty_list_strips_everybody() {
        let mut list = [delegate(None), delegate(Some(&[]))];
        assert_eq!(filters(&mut list), [(true, true); 2]);
    }

    #[test]
    fn two_next_hops_of_a_family_are_refused() {
        for hops in [["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]] {
            let one = assign(&mut [delegate(Some(&hops))]).unwrap_err();
            assert_eq!(one.to_string(), "multus does not support ECMP for default-route");
            assert!(assign(&mut [delegate(Some(&hops[..1])), delegate(Some(&hops[1..]))]).is_err());
        }
    }

    #[test]
    fn the_auxiliary_chain_takes_no_part() {
        let auxiliary =
            DelegateConf { filter: Filter { v4: true, v6: true }, is_auxiliary: true, ..delegate(None) };
        assert!(!concerns(&auxiliary));
    }

    fn edited(result: Value, hops: &[&str]) -> Value {
        let mut map = result.as_object().unwrap().clone();
        edit_result(&mut map, &hops.iter().map(|hop| hop.parse().unwrap()).collect::<Vec<_>>());
        Value::Object(map)
    }

    #[test]
    fn the_cached_result_loses_and_gains_default_routes() {
        let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "10.9.0.0/16"}, {"dst": "::/0"}]);
        let result = json!({"cniVersion": "1.0.0", "routes": routes});
        assert_eq!(
            edited(result.clone(), &["10.0.0.9", "fd00::9"])["routes"],
            json!([{"dst": "10.9.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.0.0.9"}, {"dst": "::0/0", "gw": "fd00::9"}])
        );
        assert_eq!(edited(result, &[])["routes"], json!([{"dst": "10.9.0.0/16"}]));
        let none = edited(json!({"cniVersion": "0.3.1", "routes": [{"dst": "::0/0"}]}), &[]);
        assert_eq!(none, json!({"cniVersion": "0.3.1"}));
    }

    #[test]
    fn the_oldest_form_has_its_routes_by_family() {
        let result = json!({"ip4": {"ip": "10.0.0.2/24", "routes": [{"dst": "0.0.0.0/0"}]}, "ip6": {"ip": "fd00::2/64"}});
        assert_eq!(
            edited(result, &["10.0.0.9", "fd00::9"]),
            json!({"ip4": {"ip": "10.0.0.2/24", "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.9"}]},
                   "ip6": {"ip": "fd00::2/64", "routes": [{"dst": "::/0", "gw": "fd00::9"}]}})
        );
    }
}
