//! Which allocations belong to nobody any more (spec/whereabouts.md 8 and 9).

use std::net::IpAddr;

use super::Holder;

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPod {
    /// It is on its way out for good: taints evicted it, or it has ended.
    pub is_gone: bool,
    /// Interfaces and addresses of its network-status; none if it was not written yet.
    pub status: Option<Vec<(String, Vec<IpAddr>)>>,
}

/// Whether an allocation is stale, given the live pod of its name: the pod is gone, or its network-status shows the interface with other
/// addresses. A pod keeps an address whose interface is in no status yet.
pub fn is_stale(holder: &Holder, ip: IpAddr, pod: Option<&KnownPod>) -> bool {
    let Some(pod) = pod else { return true };
    if pod.is_gone {
        return true;
    }
    let Some(status) = &pod.status else { return false };
    let has = status.iter().any(|(_, addresses)| addresses.contains(&ip));
    let is_named = status.iter().any(|(ifname, _)| *ifname == holder.ifname);
    // Old allocations name no interface; and one that is being attached now is in no status yet.
    !has && is_named && !holder.ifname.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(ifname: &str) -> Holder {
        Holder { id: "c1".into(), podref: "blue/web".into(), ifname: ifname.into() }
    }

    #[test]
    fn a_live_pods_address_is_never_stale_while_its_status_may_be_behind() {
        let ip: IpAddr = "10.0.0.5".parse().unwrap();
        let pod = |status| KnownPod { is_gone: false, status };
        let named = |name: &str, ip: &str| vec![(name.to_owned(), vec![ip.parse().unwrap()])];
        assert!(is_stale(&holder("net1"), ip, None));
        assert!(is_stale(&holder("net1"), ip, Some(&KnownPod { is_gone: true, status: None })));
        assert!(!is_stale(&holder("net1"), ip, Some(&pod(None))));
        assert!(!is_stale(&holder("net1"), ip, Some(&pod(Some(named("net1", "10.0.0.5"))))));
        assert!(!is_stale(&holder("net1"), ip, Some(&pod(Some(named("eth0", "10.0.0.9"))))));
        assert!(is_stale(&holder("net1"), ip, Some(&pod(Some(named("net1", "10.0.0.9"))))));
        assert!(!is_stale(&holder(""), ip, Some(&pod(Some(named("net1", "10.0.0.9"))))));
    }
}
