//! Giving back what pods left: the replaced `ip-reconciler` (spec/whereabouts.md 8).
//!
//! Lists nominate, a read by name convicts: an allocation goes only if its pod is gone, or shows other addresses, in a read after the pool was
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use kube::Client;
use kube::core::Request;
use kube::core::params::GetParams;
use polynic_api::annotation;
use polynic_api::whereabouts::{IP_POOL, RESERVATION};
use polynic_ipam::whereabouts::{Holder, KnownPod, Range, RangeText, is_stale};
use serde_json::Value;

use super::objects::{Objects, ReadPool, Reserved};
use crate::request;
use crate::retry::{Limits, Problem, ask};

/// How often a pool that others write meanwhile is looked at anew.
const TRIES: u32 = 10;

/// With so many that fail, it is not they that are the trouble.
const MOST_PROBLEMS: usize = 5;

/// What was given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Allocations.
    pub allocations: Vec<Freed>,
    /// Names of reservations.
    pub reservations: Vec<String>,
    /// What could not be looked at, by name, and why. After a few the look ends.
    pub problems: Vec<String>,
}

/// An allocation that was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// The IPPool.
    pub pool: String,
    /// The address.
    pub ip: IpAddr,
    /// The pod that had it: `namespace/name`.
    pub podref: String,
}

impl fmt::Display for Freed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {}", self.pool, self.ip, self.podref)
    }
}

/// Whose addresses are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// Those of pods of these names, `namespace/name`.
    Of(BTreeSet<String>),
}

impl Whose {
    fn concerns(&self, podref: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(podrefs) => podrefs.contains(podref),
        }
    }
}

/// Looks once.
///
/// # Errors
/// Pools or reservations cannot be listed.
pub async fn collect(client: Client, namespace: &str, whose: Whose) -> Result<Collected, String> {
    let mut collector = Collector {
        objects: Objects { client, namespace: namespace.to_owned() },
        whose,
        pods: BTreeMap::new(),
        collected: Collected::default(),
    };
    collector.run().await.map_err(|problem| problem.to_string())?;
    Ok(collector.collected)
}

struct Collector {
    objects: Objects,
    whose: Whose,
    /// Pods by `namespace/name`, each read once after the pools were.
    pods: BTreeMap<String, Option<KnownPod>>,
    collected: Collected,
}

impl Collector {
    async fn run(&mut self) -> Result<(), Problem> {
        // Reservations first: one is made before its allocation, so that of a new pod is in no pool yet, but its pod is there.
        let reservations = self.objects.list(RESERVATION).await?;
        let pools = self.objects.list(IP_POOL).await?;
        for pool in pools {
            let pool = ReadPool::of(pool);
            let name = format!("IPPool {}", pool.name());
            let looked = self.pool(pool).await;
            if self.note(&name, looked) {
                return Ok(());
            }
        }
        for object in reservations {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let name = format!("OverlappingRangeIPReservation {name}");
            let looked = self.reservation(&object).await;
            if self.note(&name, looked) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One that cannot be looked at keeps no other from it. Answers whether there were too many: an API server that is away is asked patiently.
    fn note(&mut self, name: &str, looked: Result<(), Problem>) -> bool {
        self.collected.problems.extend(looked.err().map(|problem| format!("{name}: {problem}")));
        self.collected.problems.len() >= MOST_PROBLEMS
    }

    async fn pool(&mut self, mut pool: ReadPool) -> Result<(), Problem> {
        for _ in 0..TRIES {
            let text = RangeText { range: pool.range().to_owned(), ..RangeText::default() };
            let Ok(range) = Range::read(&text) else { return Ok(()) };
            let mut holders = pool.holders.clone();
            let mut gone = Vec::new();
            let concerned = pool.holders.iter().filter(|(_, holder)| self.whose.concerns(&holder.podref));
            for (key, holder) in concerned.collect::<Vec<_>>() {
                let Some(ip) = range.address(key) else { continue };
                if self.is_stale(holder, ip).await? {
                    let (pool, podref) = (pool.name().to_owned(), holder.podref.clone());
                    gone.push(Freed { pool, ip, podref });
                    holders.remove(key);
                }
            }
            if gone.is_empty() {
                return Ok(());
            }
            match self.objects.write(&pool, &holders).await {
                Ok(()) => {
                    self.collected.allocations.extend(gone);
                    return Ok(());
                }
                Err(Problem::Conflict(_)) => {}
                Err(problem) => return Err(problem),
            }
            self.pods.clear();
            let name = pool.name().to_owned();
            match self.objects.find_pool(&name).await? {
                Some(read) => pool = read,
                None => return Ok(()),
            }
        }
        // Busy pools are looked at again the next time.
        Ok(())
    }

    /// A reservation goes with its pod, and if its address turns out to be another's.
    async fn reservation(&mut self, object: &Value) -> Result<(), Problem> {
        let reserved = Reserved::of(object);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if !self.whose.concerns(&reserved.podref) {
            return Ok(());
        }
        if self.pod(&reserved.podref).await?.is_some_and(|pod| !pod.is_gone) {
            return Ok(());
        }
        self.objects.unreserve(name, &reserved).await?;
        self.collected.reservations.push(name.to_owned());
        Ok(())
    }

    async fn is_stale(&mut self, holder: &Holder, ip: IpAddr) -> Result<bool, Problem> {
        let pod = self.pod(&holder.podref).await?;
        Ok(is_stale(holder, ip, pod.as_ref()))
    }

    async fn pod(&mut self, podref: &str) -> Result<Option<KnownPod>, Problem> {
        if let Some(known) = self.pods.get(podref) {
            return Ok(known.clone());
        }
        let pod = self.read_pod(podref).await?;
        self.pods.insert(podref.to_owned(), pod.clone());
        Ok(pod)
    }

    async fn read_pod(&self, podref: &str) -> Result<Option<KnownPod>, Problem> {
        let Some((namespace, name)) = podref.split_once('/') else { return Ok(None) };
        if request::check_names(&[namespace, name]).is_err() {
            return Ok(None);
        }
        let read = ask(Limits::PATIENT, async || {
            let request = Request::new(request::pods(namespace)).get(name, &GetParams::default());
            self.objects.client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await
        });
        match read.await {
            Ok(pod) => Ok(Some(known(&pod))),
            Err(Problem::NotFound(_)) => Ok(None),
            Err(problem) => Err(problem),
        }
    }
}

fn known(pod: &Value) -> KnownPod {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let evicted = conditions.into_iter().any(|c| {
        c["type"] == "DisruptionTarget" && c["status"] == "True" && c["reason"] == "DeletionByTaintManager"
    });
    let text = pod["metadata"]["annotations"][annotation::NETWORK_STATUS].as_str();
    KnownPod { is_gone: evicted || matches!(phase, "Succeeded" | "Failed"), status: text.and_then(status) }
}

/// Interfaces and addresses; none if the annotation is not readable, which proves nothing.
fn status(text: &str) -> Option<Vec<(String, Vec<IpAddr>)>> {
    let list: Vec<Value> = serde_json::from_str(text).ok()?;
    let addresses = |entry: &Value| {
        let ips = entry["ips"].as_array().into_iter().flatten();
        ips.filter_map(|ip| ip.as_str()?.parse().ok()).collect()
    };
    let entry =
        |entry: &Value| (entry["interface"].as_str().unwrap_or_default().to_owned(), addresses(entry));
    Some(list.iter().map(entry).collect())
}
