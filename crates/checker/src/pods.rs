//! What pods use, and what is said about it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{Cluster, Endpoint, Pod, Rule, Violation};

pub(crate) fn check(cluster: &Cluster) -> Vec<Violation> {
    let mut found = used_twice(cluster);
    found.extend(of_nodes(cluster));
    let records: BTreeMap<IpAddr, (&str, &str)> = cluster
        .pools
        .iter()
        .flat_map(|pool| {
            pool.records.iter().map(|record| (record.ip, (record.pod.as_str(), record.uid.as_str())))
        })
        .collect();
    for pod in cluster.pods.iter().filter(|pod| !pod.host_network) {
        found.extend(unrecorded(pod, &records));
        found.extend(
            cluster.endpoints.iter().find(|own| own.key == pod.record_key()).and_then(|own| status(pod, own)),
        );
    }
    found
}

/// Addresses of nodes, as pods with their network show them, that a pool may give to a pod.
fn of_nodes(cluster: &Cluster) -> Vec<Violation> {
    let with_network = cluster.pods.iter().filter(|pod| pod.host_network);
    let addresses = with_network.flat_map(|pod| pod.in_use.iter().map(move |ip| (*ip, pod)));
    let is_reserved =
        |ip: IpAddr| cluster.reserved.iter().flat_map(|one| &one.ips).any(|range| range.contains(ip));
    let offered: Vec<_> = cluster.pools.iter().map(|pool| (pool, crate::pools::offered(pool))).collect();
    let mut found = BTreeMap::new();
    for (ip, pod) in addresses.filter(|(ip, _)| !is_reserved(*ip)) {
        if let Some((pool, _)) = offered.iter().find(|(_, offered)| offered.contains(ip)) {
            let what = format!("pool {} offers it, and the node of pod {} has it", pool.name, pod.key);
            found
                .entry(ip)
                .or_insert_with(|| Violation::new(Rule::NodeAddress, format!("address {ip}"), what));
        }
    }
    found.into_values().collect()
}

fn used_twice(cluster: &Cluster) -> Vec<Violation> {
    let mut users: BTreeMap<IpAddr, Vec<&Pod>> = BTreeMap::new();
    for pod in cluster.pods.iter().filter(|pod| !pod.host_network) {
        for ip in &pod.in_use {
            users.entry(*ip).or_default().push(pod);
        }
    }
    // The two pods of a virtual machine that migrates share its addresses.
    let several = |users: &[&Pod]| users.windows(2).any(|two| two[0].record_key() != two[1].record_key());
    let double = users.into_iter().filter(|(_, users)| several(users));
    let text = |users: Vec<&Pod>| users.iter().map(|pod| pod.key.as_str()).collect::<Vec<_>>().join(" and ");
    let violation = |(ip, users)| {
        Violation::new(Rule::OneOwner, format!("address {ip}"), format!("pods {} use it", text(users)))
    };
    double.map(violation).collect()
}

fn unrecorded(pod: &Pod, records: &BTreeMap<IpAddr, (&str, &str)>) -> Vec<Violation> {
    let mut found = Vec::new();
    for ip in &pod.in_use {
        let what = match records.get(ip) {
            // Its time was over, as that of a pod on a dead node is, and its record was collected.
            None if pod.leaving => continue,
            None => "no pool records it".to_owned(),
            Some((key, _)) if *key != pod.record_key() => format!("it is recorded for {key}"),
            Some((_, uid)) if *uid != pod.uid && pod.recorded_as.is_none() => {
                format!("it is recorded for UID {uid}")
            }
            Some(_) => continue,
        };
        let what = format!("pod {} with UID {} uses it, and {what}", pod.key, pod.uid);
        found.push(Violation::new(Rule::UsedIsRecorded, format!("address {ip}"), what));
    }
    found
}

fn status(pod: &Pod, endpoint: &Endpoint) -> Option<Violation> {
    if pod.network_status.is_empty() || endpoint.uid != pod.uid {
        return None;
    }
    let said = |address: &&crate::EndpointAddress| {
        let row = pod.network_status.iter().find(|row| row.nic == address.nic);
        row.is_some_and(|row| row.ips.contains(&address.ip))
    };
    let missing =
        endpoint.addresses.iter().filter(|address| !address.nic.is_empty()).find(|address| !said(address))?;
    let what =
        format!("its network-status has not {} on {}, which its endpoint says", missing.ip, missing.nic);
    Some(Violation::new(Rule::StatusAgrees, format!("pod {}", pod.key), what))
}
