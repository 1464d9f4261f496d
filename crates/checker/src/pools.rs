//! Pools by themselves, against each other, and against subnets and reservations.

use polynic_net::{Family, IntervalSet, IpNet, IpRange};

use crate::{Cluster, Pool, Rule, Violation};

pub(crate) fn check(cluster: &Cluster) -> Vec<Violation> {
    let mut found = Vec::new();
    for pool in &cluster.pools {
        found.extend(counts(pool));
        found.extend(outside(pool));
        found.extend(records(cluster, pool));
        found.extend(owner(cluster, pool));
    }
    found.extend(overlaps(&cluster.pools));
    found
}

fn object(pool: &Pool) -> String {
    format!("pool {}", pool.name)
}

/// The addresses that a pool may give.
pub(crate) fn offered(pool: &Pool) -> IntervalSet {
    effective(Family::of(pool.subnet.addr()), &pool.ips, &pool.exclude_ips)
}

fn effective(family: Family, ips: &[IpRange], exclude: &[IpRange]) -> IntervalSet {
    IntervalSet::of_ranges(family, ips).difference(&IntervalSet::of_ranges(family, exclude))
}

fn counts(pool: &Pool) -> Vec<Violation> {
    let records = i64::try_from(pool.records.len()).unwrap_or(i64::MAX);
    let total = i64::try_from(offered(pool).count()).unwrap_or(i64::MAX);
    let wrong = |rule, name: &str, said: Option<i64>, is: i64| {
        let said = said.filter(|said| *said != is)?;
        Some(Violation::new(rule, object(pool), format!("{name} is {said}, and there are {is}")))
    };
    let allocated = wrong(Rule::AllocatedCount, "allocatedIPCount", pool.allocated, records);
    allocated.into_iter().chain(wrong(Rule::TotalCount, "totalIPCount", pool.total, total)).collect()
}

fn outside(pool: &Pool) -> Option<Violation> {
    let stray = |range: &&IpRange| !contains(&pool.subnet, range);
    let range = pool.ips.iter().find(stray)?;
    Some(Violation::new(
        Rule::PoolInSubnet,
        object(pool),
        format!("{range} is not in subnet {}", pool.subnet),
    ))
}

fn contains(subnet: &IpNet, range: &IpRange) -> bool {
    subnet.contains(&range.first()) && subnet.contains(&range.last())
}

fn records(cluster: &Cluster, pool: &Pool) -> Vec<Violation> {
    let offered = offered(pool);
    let mut found = Vec::new();
    for record in &pool.records {
        let address = format!("address {}", record.ip);
        if !offered.contains(record.ip) {
            let what = format!("pool {} records it for pod {} and does not offer it", pool.name, record.pod);
            found.push(Violation::new(Rule::RecordInPool, &address, what));
        }
        let holds = |range: &IpRange| range.contains(record.ip);
        if let Some(reserved) = cluster.reserved.iter().find(|reserved| reserved.ips.iter().any(holds)) {
            let what = format!(
                "{} reserves it, and pool {} records it for pod {}",
                reserved.name, pool.name, record.pod
            );
            found.push(Violation::new(Rule::RecordNotReserved, address, what));
        }
    }
    found
}

fn owner(cluster: &Cluster, pool: &Pool) -> Option<Violation> {
    let owner = pool.owner.as_ref()?;
    let Some(subnet) = cluster.subnets.iter().find(|subnet| subnet.name == *owner) else {
        return Some(Violation::new(
            Rule::PoolInOwner,
            object(pool),
            format!("its SpiderSubnet {owner} does not exist"),
        ));
    };
    let own = offered(pool);
    let stray = own.difference(&effective(own.family(), &subnet.ips, &subnet.exclude_ips));
    (!stray.is_empty()).then(|| {
        Violation::new(
            Rule::PoolInOwner,
            object(pool),
            format!("{stray} is not among the addresses of SpiderSubnet {owner}"),
        )
    })
}

fn overlaps(pools: &[Pool]) -> Vec<Violation> {
    let sets: Vec<IntervalSet> = pools.iter().map(offered).collect();
    let mut found = Vec::new();
    for (at, pool) in pools.iter().enumerate() {
        for (other, set) in pools[..at].iter().zip(&sets) {
            let common = sets[at].intersection(set);
            if !common.is_empty() {
                let what = format!("it and pool {} both offer {common}", other.name);
                found.push(Violation::new(Rule::PoolsApart, object(pool), what));
            }
        }
    }
    found
}
