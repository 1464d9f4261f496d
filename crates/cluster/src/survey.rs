//! One look at everything that hands out or holds pool addresses, for people and for the checker: no caches, no watches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use polynic_api::spider::SpiderKind;
use polynic_api::spider::endpoint::{Endpoint, InterfaceAddresses};
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::spider::subnet::Subnet;
use polynic_api::status;
use polynic_checker as checker;
use polynic_ipam::{PodKey, Records};
use polynic_net::{IntervalSet, IpNet, IpRange};

use crate::spider::{self, Stored};

/// Where the NPWG keeps what a pod's interfaces are.
const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The objects in the checker's words.
    pub cluster: checker::Cluster,
    /// Nodes of the pods that hold addresses, by `namespace/name` of the endpoint.
    pub nodes: BTreeMap<String, String>,
    /// What else decides whom a pool serves: `default`, `disabled`, `being deleted`; by its name, for those that are any of it.
    pub notes: BTreeMap<String, Vec<&'static str>>,
    /// Objects that cannot be read, and why.
    pub unreadable: Vec<String>,
    /// Kinds that the API server does not know: their definitions are not installed.
    pub unknown: Vec<&'static str>,
}

/// Reads all pools, SpiderSubnets, reserved addresses and endpoints, and the pods.
///
/// # Errors
/// The API server refuses a list. A kind that it does not know counts as empty.
pub async fn survey(client: &Client) -> Result<Survey, kube::Error> {
    let mut survey = Survey::default();
    let (pools, subnets, reserved, endpoints, pods) = futures::try_join!(
        list::<IPPool>(client),
        list::<Subnet>(client),
        list::<ReservedIP>(client),
        list::<Endpoint>(client),
        all_pods(client),
    )?;
    let (pools, subnets) = (survey.known(pools), survey.known(subnets));
    let (reserved, endpoints) = (survey.known(reserved), survey.known(endpoints));
    for pool in &pools {
        let converted = convert_pool(pool);
        let notes = notes(pool);
        if !notes.is_empty() {
            survey.notes.insert(pool.metadata.name.clone().unwrap_or_default(), notes);
        }
        survey.add("SpiderIPPool", &pool.metadata.name, converted, |cluster, pool| cluster.pools.push(pool));
    }
    for subnet in &subnets {
        let (ips, exclude_ips) = (ranges(&subnet.spec.ips), ranges(&subnet.spec.exclude_ips));
        let name = subnet.metadata.name.clone().unwrap_or_default();
        let converted = ips.and_then(|ips| Ok(checker::Subnet { name, ips, exclude_ips: exclude_ips? }));
        survey
            .add("SpiderSubnet", &subnet.metadata.name, converted, |cluster, one| cluster.subnets.push(one));
    }
    for one in &reserved {
        let name = one.metadata.name.clone().unwrap_or_default();
        let converted = ranges(&one.spec.ips).map(|ips| checker::Reserved { name, ips });
        survey.add("SpiderReservedIP", &one.metadata.name, converted, |cluster, one| {
            cluster.reserved.push(one)
        });
    }
    for endpoint in &endpoints {
        survey.endpoint(endpoint);
    }
    let offered: Vec<IntervalSet> = survey.cluster.pools.iter().map(offered).collect();
    survey.cluster.pods = pods.iter().map(|pod| convert_pod(pod, &offered)).collect();
    let recorded: BTreeSet<String> = survey
        .cluster
        .pools
        .iter()
        .flat_map(|pool| pool.records.iter().map(|record| record.pod.clone()))
        .collect();
    for (known, pod) in survey.cluster.pods.iter_mut().zip(&pods) {
        known.recorded_as = machine(pod).filter(|machine| recorded.contains(machine));
    }
    Ok(survey)
}

/// `None`: the API server does not know the kind.
async fn list<K: SpiderKind + Debug>(client: &Client) -> Result<Option<Vec<Stored<K>>>, kube::Error> {
    match spider::all::<K>(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(Some(list.items)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(other) => Err(other),
    }
}

async fn all_pods(client: &Client) -> Result<Vec<Pod>, kube::Error> {
    Ok(Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?.items)
}

impl Survey {
    fn known<K: SpiderKind>(&mut self, listed: Option<Vec<Stored<K>>>) -> Vec<Stored<K>> {
        listed.unwrap_or_else(|| {
            self.unknown.push(K::KIND);
            Vec::new()
        })
    }

    fn add<T>(
        &mut self,
        kind: &str,
        name: &Option<String>,
        converted: Result<T, String>,
        keep: impl FnOnce(&mut checker::Cluster, T),
    ) {
        match converted {
            Ok(object) => keep(&mut self.cluster, object),
            Err(why) => {
                self.unreadable.push(format!("{kind} {}: {why}", name.as_deref().unwrap_or_default()));
            }
        }
    }

    fn endpoint(&mut self, stored: &Stored<Endpoint>) {
        let metadata = &stored.metadata;
        let key = key(metadata.namespace.as_deref(), metadata.name.as_deref());
        let status = stored.status.clone().unwrap_or_default();
        self.nodes.insert(key.clone(), status.current.node.clone());
        let addresses = status.current.ips.iter().flat_map(addresses_of).collect();
        let fixed = !metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Pod");
        self.cluster.endpoints.push(checker::Endpoint { key, uid: status.current.uid, fixed, addresses });
    }

    /// How full the pools are, by name.
    pub fn usages(&self) -> Vec<Usage<'_>> {
        let usage = |pool| Usage::of(pool, &self.cluster.reserved);
        let mut usages: Vec<Usage<'_>> = self.cluster.pools.iter().map(usage).collect();
        usages.sort_by_key(|usage| &usage.pool.name);
        usages
    }

    /// What has become of the pod that a record names.
    pub fn holder(&self, record: &checker::Record) -> Holder {
        let own = |pod: &&checker::Pod| pod.record_key() == record.pod;
        let is_fixed = || self.cluster.endpoints.iter().any(|one| one.fixed && one.key == record.pod);
        // A machine's record may be that of another of its pods.
        let pod = self.cluster.pods.iter().filter(own);
        match pod.into_iter().find(|pod| pod.uid == record.uid || pod.recorded_as.is_some()) {
            Some(pod) if pod.leaving => Holder::Leaving,
            Some(pod) if pod.ended => Holder::Ended,
            Some(_) => Holder::There,
            None if is_fixed() => Holder::Awaited,
            None => Holder::Gone,
        }
    }
}

/// How full a pool is.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'s> {
    /// The pool.
    pub pool: &'s checker::Pool,
    /// Addresses that it offers.
    pub total: u128,
    /// Addresses that it has given.
    pub used: usize,
    /// Addresses that it would give, but for a SpiderReservedIP.
    pub reserved: u128,
    /// Addresses that it can still give.
    pub free: u128,
}

/// What has become of the pod that a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It exists.
    There,
    /// It is being deleted.
    Leaving,
    /// It has succeeded or failed.
    Ended,
    /// It is gone, and its address waits for it to come back: a StatefulSet's or virtual machine's.
    Awaited,
    /// It is gone.
    Gone,
}

impl<'s> Usage<'s> {
    fn of(pool: &'s checker::Pool, reserved: &[checker::Reserved]) -> Self {
        let offered = offered(pool);
        let family = offered.family();
        let given = IntervalSet::of_addresses(family, pool.records.iter().map(|record| record.ip));
        let kept_back = IntervalSet::of_ranges(family, reserved.iter().flat_map(|one| &one.ips));
        let left = offered.difference(&given);
        let free = left.difference(&kept_back).count();
        let (total, used) = (offered.count(), pool.records.len());
        Self { pool, total, used, reserved: left.count() - free, free }
    }

    /// How full, from 0 to 1; an empty pool is full.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 1.0 } else { (self.used as f64 / self.total as f64).min(1.0) }
    }
}

/// The addresses that a pool hands out.
fn offered(pool: &checker::Pool) -> IntervalSet {
    let family = polynic_net::Family::of(pool.subnet.addr());
    let listed = IntervalSet::of_ranges(family, &pool.ips);
    listed.difference(&IntervalSet::of_ranges(family, &pool.exclude_ips))
}

fn key(namespace: Option<&str>, name: Option<&str>) -> String {
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}

fn ranges(texts: &[String]) -> Result<Vec<IpRange>, String> {
    texts.iter().map(|text| text.parse().map_err(|why| format!("{text:?}: {why}"))).collect()
}

fn convert_pool(stored: &Stored<IPPool>) -> Result<checker::Pool, String> {
    let status = stored.status.clone().unwrap_or_default();
    let records = Records::of_text(status.allocated_ips.as_deref()).map_err(|why| why.to_string())?;
    let record = |(ip, record): (IpAddr, &polynic_ipam::Record)| checker::Record {
        ip,
        pod: pod_text(&record.pod),
        uid: record.uid.clone(),
        nic: record.nic.clone(),
    };
    let owner = stored.metadata.owner_references.iter().flatten().find(|owner| owner.kind == "SpiderSubnet");
    Ok(checker::Pool {
        name: stored.metadata.name.clone().unwrap_or_default(),
        subnet: stored
            .spec
            .subnet
            .parse()
            .map_err(|why| format!("subnet {:?}: {why}", stored.spec.subnet))?,
        ips: ranges(&stored.spec.ips)?,
        exclude_ips: ranges(&stored.spec.exclude_ips)?,
        owner: owner.map(|owner| owner.name.clone()),
        records: records.iter().map(record).collect(),
        total: status.total_ip_count,
        allocated: status.allocated_ip_count,
    })
}

fn notes(stored: &Stored<IPPool>) -> Vec<&'static str> {
    let all = [
        (stored.spec.default == Some(true), "default"),
        (stored.spec.disable == Some(true), "disabled"),
        (stored.metadata.deletion_timestamp.is_some(), "being deleted"),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note).collect()
}

fn pod_text(pod: &PodKey) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn addresses_of(item: &InterfaceAddresses) -> impl Iterator<Item = checker::EndpointAddress> {
    let pairs = [(&item.ipv4, &item.ipv4_pool), (&item.ipv6, &item.ipv6_pool)];
    let one = |(address, pool): (&Option<String>, &Option<String>)| {
        let net: IpNet = address.as_deref()?.parse().ok()?;
        let pool = pool.clone().unwrap_or_default();
        Some(checker::EndpointAddress { nic: item.interface.clone(), pool, ip: net.addr() })
    };
    pairs.map(one).into_iter().flatten()
}

/// The virtual machine that a pod runs. Where these have fixed addresses, they are recorded under its name.
fn machine(pod: &Pod) -> Option<String> {
    let owner =
        pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let is_machine = owner.kind == "VirtualMachineInstance" && owner.api_version.starts_with("kubevirt.io/");
    is_machine.then(|| key(pod.metadata.namespace.as_deref(), Some(&owner.name)))
}

/// Pods that have ended use nothing any more.
fn convert_pod(pod: &Pod, offered: &[IntervalSet]) -> checker::Pod {
    let metadata = &pod.metadata;
    let status = pod.status.clone().unwrap_or_default();
    let annotations = metadata.annotations.clone().unwrap_or_default();
    let rows = annotations.get(NETWORK_STATUS).and_then(|text| status::parse(text).ok()).unwrap_or_default();
    let network_status: Vec<checker::NetworkStatus> = rows
        .into_iter()
        .map(|row| checker::NetworkStatus {
            nic: row.interface,
            ips: row.ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
        })
        .collect();
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let pod_ips = status.pod_ips.iter().flatten().filter_map(|ip| ip.ip.parse().ok());
    let mut in_use: Vec<IpAddr> =
        pod_ips.chain(network_status.iter().flat_map(|row| row.ips.clone())).collect();
    in_use.retain(|ip| !ended && offered.iter().any(|addresses| addresses.contains(*ip)));
    in_use.sort();
    in_use.dedup();
    checker::Pod {
        key: key(metadata.namespace.as_deref(), metadata.name.as_deref()),
        recorded_as: None,
        uid: metadata.uid.clone().unwrap_or_default(),
        host_network: pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false),
        leaving: metadata.deletion_timestamp.is_some(),
        ended,
        in_use,
        network_status,
    }
}
