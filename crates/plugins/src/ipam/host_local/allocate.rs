//! Which address is next.

use std::net::IpAddr;

use polynic_net::IpNet;

use super::config::{Config, Range, RangeSet};
use super::store::{Owner, Store, StoreError};

/// An address that now belongs to the attachment.
pub(super) struct Allocated {
    pub(super) address: IpNet,
    pub(super) gateway: IpAddr,
}

/// Why an address could not be had. Texts of spec/plugins.md 2.1.
#[derive(Debug, thiserror::Error)]
pub(super) enum AllocateError {
    #[error("failed to allocate for range {index}: {why}")]
    Range { index: usize, why: String },
    #[error("failed to allocate all requested IPs: {0}")]
    LeftOver(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One address from each set, or none at all: a failure gives back what was taken before it.
pub(super) fn allocate(
    store: &mut Store<'_>,
    config: &Config,
    owner: Owner<'_>,
) -> Result<Vec<Allocated>, AllocateError> {
    let held = store.held_by(owner)?;
    let mut requested = config.requested.clone();
    let mut taken = Vec::new();
    for (index, set) in config.sets.iter().enumerate() {
        match from_set(store, set, index, owner, &held, &mut requested) {
            Ok(allocated) => taken.push(allocated),
            Err(why) => {
                give_back(store, owner, &taken);
                return Err(AllocateError::Range { index, why });
            }
        }
    }
    if !requested.is_empty() {
        give_back(store, owner, &taken);
        let rest: Vec<String> = requested.iter().map(ToString::to_string).collect();
        return Err(AllocateError::LeftOver(rest.join(" ")));
    }
    Ok(taken)
}

/// The failure that led here is the one to report; a file that stays is found by DEL and GC.
fn give_back(store: &mut Store<'_>, owner: Owner<'_>, taken: &[Allocated]) {
    for allocated in taken {
        let _ = store.free(allocated.address.addr(), owner);
    }
}

fn from_set(
    store: &mut Store<'_>,
    set: &RangeSet,
    index: usize,
    owner: Owner<'_>,
    held: &[IpAddr],
    requested: &mut Vec<IpAddr>,
) -> Result<Allocated, String> {
    if let Some(at) = requested.iter().position(|ip| set.range_of(*ip).is_some()) {
        return exactly(store, set, index, owner, requested.remove(at));
    }
    if let Some(ip) = held.iter().find(|ip| set.range_of(**ip).is_some()) {
        return Err(format!(
            "{ip} has been allocated to {}, duplicate allocation is not allowed",
            owner.container_id
        ));
    }
    for (ip, range) in Candidates::new(set, store.last_reserved(index)) {
        if ip != range.gateway && store.reserve(ip, index, owner).map_err(|e| e.to_string())? {
            return Ok(allocated(ip, range));
        }
    }
    Err(exhausted(set))
}

fn exactly(
    store: &mut Store<'_>,
    set: &RangeSet,
    index: usize,
    owner: Owner<'_>,
    ip: IpAddr,
) -> Result<Allocated, String> {
    let Some(range) = set.range_of(ip) else { return Err(format!("{ip} not in range set {set}")) };
    if ip == range.gateway {
        return Err(format!("requested ip {ip} is subnet's gateway"));
    }
    match store.reserve(ip, index, owner).map_err(|e| e.to_string())? {
        true => Ok(allocated(ip, range)),
        false => Err(format!("requested IP address {ip} is not available in range set {set}")),
    }
}

fn allocated(ip: IpAddr, range: &Range) -> Allocated {
    // The prefix length is the subnet's, which is at most the family's.
    let address = IpNet::new(ip, range.subnet.prefix_len()).unwrap_or(IpNet::from(ip));
    Allocated { address, gateway: range.gateway }
}

/// The text of a set without a free address.
pub(super) fn exhausted(set: &RangeSet) -> String {
    format!("no IP addresses available in range set: {set}")
}

/// Whether an allocation would find something.
pub(super) fn has_free(store: &Store<'_>, set: &RangeSet) -> Result<bool, StoreError> {
    for (ip, range) in Candidates::new(set, None) {
        if ip != range.gateway && store.is_free(ip)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The addresses of a set, each once, round robin from the one after the last that was handed out.
struct Candidates<'a> {
    set: &'a RangeSet,
    /// Range and address of the next candidate.
    next: Option<(usize, IpAddr)>,
    /// Where the round ends.
    start: (usize, IpAddr),
}

impl<'a> Candidates<'a> {
    fn new(set: &'a RangeSet, last: Option<IpAddr>) -> Self {
        let first = (0, set.ranges[0].span.first());
        let of_last = last.and_then(|ip| Some((set.ranges.iter().position(|r| r.span.contains(ip))?, ip)));
        let start = of_last.map_or(first, |(at, ip)| step(set, at, ip));
        Self { set, next: Some(start), start }
    }
}

/// The address after `ip`, which lies in range `at`; after the last of all ranges comes the first.
fn step(set: &RangeSet, at: usize, ip: IpAddr) -> (usize, IpAddr) {
    if let Some(after) = set.ranges[at].span.after(ip) {
        return (at, after);
    }
    let at = (at + 1) % set.ranges.len();
    (at, set.ranges[at].span.first())
}

impl<'a> Iterator for Candidates<'a> {
    type Item = (IpAddr, &'a Range);

    fn next(&mut self) -> Option<Self::Item> {
        let (at, ip) = self.next?;
        let following = step(self.set, at, ip);
        self.next = (following != self.start).then_some(following);
        Some((ip, &self.set.ranges[at]))
    }
}
