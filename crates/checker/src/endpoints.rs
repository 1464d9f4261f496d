//! Endpoints against pools and pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::{Cluster, Endpoint, Pool, Record, Rule, Violation};

pub(crate) fn check(cluster: &Cluster) -> Vec<Violation> {
    let pods: BTreeSet<(&str, &str)> =
        cluster.pods.iter().map(|pod| (pod.record_key(), pod.uid.as_str())).collect();
    let mut found = two_owners(cluster, &pods);
    for endpoint in &cluster.endpoints {
        let there = pods.contains(&(endpoint.key.as_str(), endpoint.uid.as_str()));
        found.extend(disagreements(cluster, endpoint, there));
        if !endpoint.fixed && !there {
            let what = format!("there is no pod of its name and UID {}", endpoint.uid);
            found.push(Violation::new(Rule::EndpointHasPod, object(endpoint), what));
        }
    }
    found.extend(unlisted(cluster, &pods));
    found
}

fn object(endpoint: &Endpoint) -> String {
    format!("endpoint {}", endpoint.key)
}

/// Addresses that two endpoints name, or two pools record for different pods. An endpoint whose pod is gone or going owns what a
/// pool records for it, and without a pod only if its addresses are fixed.
fn two_owners(cluster: &Cluster, pods: &BTreeSet<(&str, &str)>) -> Vec<Violation> {
    let mut owners: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
    for endpoint in &cluster.endpoints {
        let there = pods.contains(&(endpoint.key.as_str(), endpoint.uid.as_str()));
        let leaving = cluster.pods.iter().any(|pod| pod.leaving && pod.uid == endpoint.uid);
        let confirmed = |ip: IpAddr| {
            let record = cluster.pools.iter().find_map(|pool| recorded(pool, ip));
            record.is_some_and(|record| record.pod == endpoint.key)
        };
        let owns = |ip: IpAddr| (there && !leaving) || ((there || endpoint.fixed) && confirmed(ip));
        for address in endpoint.addresses.iter().filter(|address| owns(address.ip)) {
            owners.entry(address.ip).or_default().insert(&endpoint.key);
        }
    }
    // A record and an endpoint that contradict each other are reported as such; two records are two owners.
    let mut recorded: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
    for record in cluster.pools.iter().flat_map(|pool| &pool.records) {
        recorded.entry(record.ip).or_default().insert(&record.pod);
    }
    for (ip, pods) in recorded.into_iter().filter(|(_, pods)| pods.len() > 1) {
        owners.entry(ip).or_default().extend(pods);
    }
    let double = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
    let text = |owners: BTreeSet<&str>| owners.into_iter().collect::<Vec<_>>().join(" and ");
    let violation = |(ip, owners)| {
        Violation::new(Rule::OneOwner, format!("address {ip}"), format!("it belongs to {}", text(owners)))
    };
    double.map(violation).collect()
}

fn recorded(pool: &Pool, ip: IpAddr) -> Option<&Record> {
    pool.records.iter().find(|record| record.ip == ip)
}

/// Where fixed addresses wait for their pod, the UID is that of a pod that is gone, and does not count.
fn disagreements(cluster: &Cluster, endpoint: &Endpoint, there: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for address in &endpoint.addresses {
        let pool = cluster.pools.iter().find(|pool| pool.name == address.pool);
        let what = match pool.map(|pool| recorded(pool, address.ip)) {
            None => format!("{} is from pool {}, which does not exist", address.ip, address.pool),
            Some(None) => format!("{} is not recorded in pool {}", address.ip, address.pool),
            Some(Some(record)) if record.pod != endpoint.key => {
                format!("{} is recorded in pool {} for {}", address.ip, address.pool, record.pod)
            }
            Some(Some(record)) if record.uid != endpoint.uid && (there || !endpoint.fixed) => {
                format!("{} is recorded in pool {} for UID {}", address.ip, address.pool, record.uid)
            }
            Some(Some(record)) if !same_nic(record.nic.as_deref(), &address.nic) => {
                format!("{} of {} is recorded for another interface", address.ip, address.nic)
            }
            Some(Some(_)) => continue,
        };
        found.push(Violation::new(Rule::EndpointAgrees, object(endpoint), what));
    }
    found
}

fn same_nic(recorded: Option<&str>, nic: &str) -> bool {
    nic.is_empty() || recorded.is_none_or(|recorded| recorded == nic)
}

/// Records that no endpoint names: of a pod that exists, or of none.
fn unlisted(cluster: &Cluster, pods: &BTreeSet<(&str, &str)>) -> Vec<Violation> {
    let named: BTreeSet<(&str, IpAddr)> = cluster
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().map(|address| (endpoint.key.as_str(), address.ip)))
        .collect();
    let fixed: BTreeSet<&str> =
        cluster.endpoints.iter().filter(|own| own.fixed).map(|own| own.key.as_str()).collect();
    let mut found = Vec::new();
    for pool in &cluster.pools {
        for record in &pool.records {
            let listed = named.contains(&(record.pod.as_str(), record.ip));
            let pod = pods.contains(&(record.pod.as_str(), record.uid.as_str()));
            let (rule, what) = match (pod, listed) {
                (true, true) => continue,
                (false, true) if fixed.contains(record.pod.as_str()) => continue,
                (true, false) => (Rule::RecordInEndpoint, "its endpoint does not name it"),
                (false, _) => (Rule::RecordHasPod, "there is no such pod"),
            };
            let what = format!(
                "pool {} records it for pod {} with UID {}, and {what}",
                pool.name, record.pod, record.uid
            );
            found.push(Violation::new(rule, format!("address {}", record.ip), what));
        }
    }
    found
}
