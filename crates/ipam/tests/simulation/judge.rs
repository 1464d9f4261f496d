//! The world as the checker sees it.

use polynic_checker as checker;
use polynic_checker::{Cluster, Rule, Severity, Violation, check_cluster};
use polynic_ipam::sim::World;
use polynic_ipam::{Endpoint, Pool};

/// What must hold at every moment: whoever uses an address is recorded for it, alone.
pub fn dangers(world: &World) -> Result<(), String> {
    let mut found = check_cluster(&cluster(world));
    found.retain(|violation| {
        violation.rule.severity() == Severity::Danger || violation.rule == Rule::RecordNotReserved
    });
    report(found)
}

/// What must hold when nothing is under way: everything. Excused are a pod whose agent crashed between answer and endpoint, which has
/// none, and a fixed endpoint without a pod that a late creation brought back: the next pod's ADD has it confirmed or replaced.
pub fn everything(world: &World) -> Result<(), String> {
    let unlisted = |violation: &Violation| {
        violation.rule == Rule::RecordInEndpoint
            && world.unlisted().iter().any(|pod| violation.what.contains(&format!("pod {pod} ")))
    };
    let away = |endpoint: &Endpoint| {
        let pod = world.api().pods.get(&endpoint.key);
        !endpoint.owned_by_pod && pod.is_none_or(|pod| pod.uid != endpoint.uid)
    };
    let waits = |violation: &Violation| {
        let mut endpoints = world.api().endpoints.values().filter(|endpoint| away(endpoint));
        violation.rule == Rule::EndpointAgrees
            && endpoints.any(|endpoint| violation.object == format!("endpoint {}", endpoint.key))
    };
    let mut found = check_cluster(&cluster(world));
    found.retain(|violation| !unlisted(violation) && !waits(violation));
    report(found)
}

fn report(found: Vec<Violation>) -> Result<(), String> {
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    if texts.is_empty() { Ok(()) } else { Err(texts.join("\n")) }
}

fn cluster(world: &World) -> Cluster {
    let api = world.api();
    let users = world.users();
    let pods = api.pods.values().map(|pod| checker::Pod {
        key: pod.key.to_string(),
        uid: pod.uid.clone(),
        leaving: pod.deletion.is_some(),
        in_use: users
            .iter()
            .filter(|user| user.uid == pod.uid)
            .flat_map(|user| user.in_use.clone())
            .collect(),
        ..checker::Pod::default()
    });
    Cluster {
        pools: api.pools.values().map(|pool| of_pool(pool)).collect(),
        endpoints: api.endpoints.values().map(of_endpoint).collect(),
        pods: pods.collect(),
        ..Cluster::default()
    }
}

fn of_pool(pool: &Pool) -> checker::Pool {
    let record = |(ip, record): (_, &polynic_ipam::Record)| checker::Record {
        ip,
        pod: record.pod.to_string(),
        uid: record.uid.clone(),
        nic: record.nic.clone(),
    };
    checker::Pool {
        name: pool.name.clone(),
        subnet: pool.spec.subnet,
        ips: pool.spec.ips.clone(),
        exclude_ips: pool.spec.exclude_ips.clone(),
        owner: None,
        records: pool.records.iter().map(record).collect(),
        total: None,
        allocated: Some(i64::try_from(pool.records.count()).unwrap()),
    }
}

fn of_endpoint(endpoint: &Endpoint) -> checker::Endpoint {
    let address = |holding: polynic_ipam::Holding<'_>| checker::EndpointAddress {
        nic: holding.nic.to_owned(),
        pool: holding.pool.to_owned(),
        ip: holding.ip,
    };
    checker::Endpoint {
        key: endpoint.key.to_string(),
        uid: endpoint.uid.clone(),
        fixed: !endpoint.owned_by_pod,
        addresses: endpoint.holdings().map(address).collect(),
    }
}
