//! Who keeps network policies on a pod's secondary networks in force (spec/multi-networkpolicy.md 4), as a trait.
//!
//! An ADD asks before its first delegate runs, so that the rules are there before the first of the pod's links is: neither a packet that
//! comes in the moment a link is up nor the first one that a container sends can get past them. If the delegates make other interfaces
//! than were expected, it asks again, before it answers.

use polynic_cni::Error;

use crate::cluster::PodRef;

/// Where policies are enforced. An implementation bounds every call by a deadline of its own.
pub trait Guard {
    /// Puts the policies that concern these networks in force. Called again for the same sandbox with other networks, the later call counts.
    ///
    /// # Errors
    /// They are not in force: the ADD fails, because a pod without its policies must not start.
    fn protect(&self, sandbox: &Sandbox<'_>) -> Result<(), Error>;

    /// The ADD failed: what only it brought about goes. What a former ADD of the same sandbox needs stays.
    fn release(&self, sandbox: &Sandbox<'_>);
}

/// A pod's network namespace, and its networks but for the default one.
#[derive(Clone, Copy, Debug)]
pub struct Sandbox<'a> {
    /// Whose.
    pub pod: &'a PodRef,
    /// The container id.
    pub container_id: &'a str,
    /// Path of the namespace.
    pub netns: &'a str,
    /// The networks.
    pub networks: &'a [GuardedNetwork],
}

/// One attachment to a secondary network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuardedNetwork {
    /// As in the network status: `namespace/name` of a NAD.
    pub name: String,
    /// The interface in the pod.
    pub interface: String,
}
