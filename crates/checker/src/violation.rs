//! What is wrong, why it matters, and what to do about it.

use std::fmt;

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Traffic goes, or will go, to the wrong place.
    Danger,
    /// Something that people or programs rely on is not so.
    Wrong,
    /// Something is left over, and takes room.
    Leftover,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// One address has one owner.
    OneOwner,
    /// An address that a pod uses is recorded for it in a pool.
    UsedIsRecorded,
    /// A record belongs to a pod that exists.
    RecordHasPod,
    /// A recorded address is one that the pool offers.
    RecordInPool,
    /// A reserved address is not recorded.
    RecordNotReserved,
    /// `allocatedIPCount` is the number of records.
    AllocatedCount,
    /// `totalIPCount` is the number of addresses.
    TotalCount,
    /// The addresses of a pool lie in its subnet.
    PoolInSubnet,
    /// Two pools do not offer the same address.
    PoolsApart,
    /// A pool's addresses lie in those of the SpiderSubnet that controls it.
    PoolInOwner,
    /// No pool offers the address of a node.
    NodeAddress,
    /// What an endpoint says stands in the pools.
    EndpointAgrees,
    /// An endpoint belongs to a pod that exists.
    EndpointHasPod,
    /// A pod's records stand in its endpoint.
    RecordInEndpoint,
    /// The network-status annotation says what the endpoint says.
    StatusAgrees,
    /// A host route leads to a link that exists.
    RouteHasLink,
    /// A rule leads to a table that has routes.
    RuleHasTable,
    /// One address is on one link.
    AddressOnce,
}

impl Rule {
    /// How bad a violation is.
    pub fn severity(self) -> Severity {
        match self {
            Self::OneOwner
            | Self::UsedIsRecorded
            | Self::PoolsApart
            | Self::NodeAddress
            | Self::AddressOnce => Severity::Danger,
            Self::RecordHasPod | Self::EndpointHasPod => Severity::Leftover,
            _ => Severity::Wrong,
        }
    }

    /// Why it matters.
    pub fn why(self) -> &'static str {
        match self {
            Self::OneOwner => "two pods that answer for one address lose each other's packets",
            Self::UsedIsRecorded => "an address that is used but not recorded will be given to somebody else",
            Self::RecordHasPod => "the address is lost to the pool until it is collected",
            Self::RecordInPool => "the pool's numbers are wrong, and the address may be routed elsewhere",
            Self::RecordNotReserved => "somebody else was promised that address",
            Self::AllocatedCount | Self::TotalCount => "people and alarms read how full a pool is from it",
            Self::PoolInSubnet => "pods with an address outside of the subnet cannot reach their gateway",
            Self::PoolsApart => "both pools will hand out the same address",
            Self::NodeAddress => "a pod that is given it takes the node off the network",
            Self::PoolInOwner => "another pool of the SpiderSubnet may be given the same address",
            Self::EndpointAgrees => {
                "a release by the endpoint would leave the record, and a fixed address would not be kept"
            }
            Self::EndpointHasPod => "it shows a pod that is not there",
            Self::RecordInEndpoint => "people and programs find a pod's addresses by its endpoint",
            Self::StatusAgrees => "programs that read the annotation connect to the wrong address",
            Self::RouteHasLink => "packets for the pod go nowhere",
            Self::RuleHasTable => {
                "packets that the rule catches fall through to another table, and replies leave by the wrong NIC"
            }
            Self::AddressOnce => "the kernel answers for one address on two links",
        }
    }

    /// What to do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::OneOwner => "delete one of the two pods; its successor gets another address",
            Self::UsedIsRecorded => "delete the pod, so that its successor gets a recorded address",
            Self::RecordHasPod => {
                "garbage collection frees it within its interval (10 minutes unless set otherwise); to have it now, restart the \
                 controller, which looks at everything when it starts (kubectl rollout restart deployment spiderpool-controller)"
            }
            Self::RecordInPool => "put the address back into the pool's ips, or delete the pod",
            Self::RecordNotReserved => "delete the pod; its successor gets another address",
            Self::AllocatedCount => {
                "nothing: the next write of the pool corrects it; if it stays, look at the agents' logs"
            }
            Self::TotalCount => "nothing if the controller runs; otherwise look at its log",
            Self::PoolInSubnet => "correct ips or subnet of the pool",
            Self::PoolsApart => "take the common addresses out of one of the pools",
            Self::NodeAddress => "list it in the pool's excludeIPs, or in a SpiderReservedIP",
            Self::PoolInOwner => "add the addresses to the SpiderSubnet, or take them out of the pool",
            Self::EndpointAgrees => "delete the pod; for fixed addresses delete the endpoint as well",
            Self::EndpointHasPod => {
                "nothing if garbage collection runs; otherwise look at the controller's log"
            }
            Self::RecordInEndpoint => "nothing if it was just started; otherwise restart the pod",
            Self::StatusAgrees => "restart the pod",
            Self::RouteHasLink => "nothing: the agent removes it; if it stays, look at the agent's log",
            Self::RuleHasTable => "restart the pod",
            Self::AddressOnce => "remove the address from the link that should not have it",
        }
    }
}

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What should hold.
    pub rule: Rule,
    /// The object, for example `pool blue` or `address 10.9.0.7`.
    pub object: String,
    /// What is the case.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(rule: Rule, object: impl Into<String>, what: impl Into<String>) -> Self {
        Self { rule, object: object.into(), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}. Remedy: {}.", self.object, self.what, self.rule.why(), self.rule.remedy())
    }
}
