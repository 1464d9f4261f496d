//! What the allocator is told once, when the agent starts (spec/spiderpool.md 13.3 and 14).

use crate::{Controller, Pod, PodKey};

/// Settings of an agent's allocator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the agent: where multusName entries and the default network without one live.
    pub agent_namespace: String,
    /// `MULTUS_CLUSTER_NETWORK`: namespace and name of the network that `eth0` belongs to.
    pub cluster_network: Option<PodKey>,
    /// `enableIPv4`.
    pub ipv4: bool,
    /// `enableIPv6`.
    pub ipv6: bool,
    /// `enableStatefulSet`.
    pub stateful_set: bool,
    /// `enableKubevirtStaticIP`.
    pub kubevirt: bool,
    /// `enableSpiderSubnet`.
    pub subnet: bool,
    /// `enableAutoPoolForApplication`.
    pub auto_pool: bool,
    /// The cluster's default flexible number of addresses of automatic pools.
    pub flexible_number: u32,
    /// `SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS`: a pool with this many records counts as used out.
    pub max_records: usize,
    /// `SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS`.
    pub release_conflicts: bool,
    /// `SPIDERPOOL_WAIT_SUBNET_POOL_TIME_IN_SECOND`, here in milliseconds.
    pub auto_pool_wait_millis: u64,
    /// `SPIDERPOOL_WAIT_SUBNET_POOL_MAX_RETRIES`.
    pub auto_pool_tries: u32,
    /// How long an address that failed a probe is avoided, in milliseconds.
    pub avoid_millis: u64,
    /// How agents that contend for a pool keep out of each other's way.
    pub pacing: Pacing,
}

/// How an agent paces its writes to a pool that others write too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// Every retry waits about this many milliseconds times 1.5 for each earlier one, with 10 % jitter: the
    /// replaced program's way, without its limit of five attempts. Kept as the measure for the other.
    Geometric(u64),
    /// Waits at random within a window that follows the contention seen; see `docs/ipam.md`.
    Adaptive,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agent_namespace: "kube-system".to_owned(),
            cluster_network: None,
            ipv4: true,
            ipv6: true,
            stateful_set: true,
            kubevirt: true,
            subnet: true,
            auto_pool: true,
            flexible_number: 1,
            max_records: 5000,
            release_conflicts: true,
            auto_pool_wait_millis: 2000,
            auto_pool_tries: 25,
            avoid_millis: 300_000,
            pacing: Pacing::Adaptive,
        }
    }
}

impl Settings {
    /// What kind of fixed addresses a pod has, if any (7.6).
    pub fn fixed(&self, pod: &Pod) -> Option<Fixed> {
        let controller = pod.controller.as_ref()?;
        let is = |api: &str, kind: &str| controller.api_version == api && controller.kind == kind;
        match () {
            () if self.stateful_set && is("apps/v1", "StatefulSet") => Some(Fixed::StatefulSet),
            () if self.kubevirt && is("kubevirt.io/v1", "VirtualMachineInstance") => {
                Some(Fixed::VirtualMachine)
            }
            () => None,
        }
    }

    /// The key of a pod's endpoint, under which its addresses are recorded too (7.1, step 3).
    pub fn endpoint_key(&self, pod: &Pod) -> PodKey {
        match (self.fixed(pod), &pod.controller) {
            (Some(Fixed::VirtualMachine), Some(Controller { name, .. })) => {
                PodKey::new(&pod.key.namespace, name)
            }
            _ => pod.key.clone(),
        }
    }
}

/// Why a pod has fixed addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// It belongs to a StatefulSet.
    StatefulSet,
    /// It runs a virtual machine.
    VirtualMachine,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(api_version: &str, kind: &str) -> Pod {
        let mut pod = Pod::new(PodKey::new("a", "virt-launcher-x"), "u", "n");
        let text = |text: &str| text.to_owned();
        let controller =
            Controller { api_version: text(api_version), kind: text(kind), name: text("vm"), uid: text("c") };
        pod.controller = Some(controller);
        pod
    }

    #[test]
    fn a_virtual_machines_endpoint_has_its_name() {
        let settings = Settings::default();
        let pod = owned("kubevirt.io/v1", "VirtualMachineInstance");
        assert_eq!(settings.endpoint_key(&pod).to_string(), "a/vm");
        assert_eq!(Settings { kubevirt: false, ..settings }.endpoint_key(&pod), pod.key);
    }

    #[test]
    fn only_a_stateful_set_of_apps_fixes_addresses() {
        let settings = Settings::default();
        assert_eq!(settings.fixed(&owned("apps/v1", "StatefulSet")), Some(Fixed::StatefulSet));
        assert_eq!(settings.fixed(&owned("apps.kruise.io/v1", "StatefulSet")), None);
        assert_eq!(settings.fixed(&owned("apps/v1", "ReplicaSet")), None);
    }
}
