//! Keys of labels of pools and SpiderSubnets, and how a prefix becomes a label's value (spec/spiderpool.md 2.1 and 9A).

use crate::Texts;

/// On a pool: its subnet, see [`of_cidr`].
pub const IPPOOL_CIDR: &str = "ipam.spidernet.io/ippool-cidr";
/// On a SpiderSubnet: its subnet, see [`of_cidr`].
pub const SUBNET_CIDR: &str = "ipam.spidernet.io/subnet-cidr";
/// On a pool: the SpiderSubnet that it belongs to.
pub const OWNER_SUBNET: &str = "ipam.spidernet.io/owner-spider-subnet";
/// On an automatic pool: group and version of its application, `apps_v1`.
pub const OWNER_APPLICATION_GV: &str = "ipam.spidernet.io/owner-application-gv";
/// On an automatic pool: kind of its application.
pub const OWNER_APPLICATION_KIND: &str = "ipam.spidernet.io/owner-application-kind";
/// On an automatic pool: namespace of its application.
pub const OWNER_APPLICATION_NAMESPACE: &str = "ipam.spidernet.io/owner-application-namespace";
/// On an automatic pool, and what makes it one: name of its application.
pub const OWNER_APPLICATION_NAME: &str = "ipam.spidernet.io/owner-application-name";
/// On an automatic pool: UID of its application.
pub const OWNER_APPLICATION_UID: &str = "ipam.spidernet.io/owner-application-uid";
/// On an automatic pool: the pods' interface.
pub const INTERFACE: &str = "ipam.spidernet.io/interface";
/// On an automatic pool: whether it goes with its application, `true` or `false`.
pub const IPPOOL_RECLAIM: &str = "ipam.spidernet.io/ippool-reclaim";
/// On an automatic pool: `IPv4` or `IPv6`.
pub const IP_VERSION: &str = "ipam.spidernet.io/ip-version";

/// Keys of an automatic pool's `podAffinity`, which name its application.
pub mod app {
    /// API group; empty for the core group.
    pub const API_GROUP: &str = "ipam.spidernet.io/app-api-group";
    /// API version.
    pub const API_VERSION: &str = "ipam.spidernet.io/app-api-version";
    /// Kind.
    pub const KIND: &str = "ipam.spidernet.io/app-kind";
    /// Namespace.
    pub const NAMESPACE: &str = "ipam.spidernet.io/app-namespace";
    /// Name.
    pub const NAME: &str = "ipam.spidernet.io/app-name";

    /// All five.
    pub const ALL: [&str; 5] = [API_GROUP, API_VERSION, KIND, NAMESPACE, NAME];
}

/// A prefix as a label's value: `10.9.0.0/16` is `10-9-0-0-16`, `fd00:7::/64` is `fd00-7---64`.
pub fn of_cidr(cidr: &str) -> String {
    cidr.replace(['.', ':', '/'], "-")
}

/// Whether a pool with these labels was made for an application.
pub fn is_automatic(labels: &Texts) -> bool {
    labels.contains_key(OWNER_APPLICATION_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_becomes_a_label() {
        assert_eq!(of_cidr("10.9.0.0/16"), "10-9-0-0-16");
        assert_eq!(of_cidr("fd00:7::/64"), "fd00-7---64");
    }
}
