//! Names of tables, chains and sets (spec/multi-networkpolicy.md 4), which operators' tools know.

use std::sync::Arc;

use polynic_net::{Family, FwFamily, FwTable};
use sha2::{Digest, Sha256};

use crate::policy::PolicyKey;

/// Name of the table in the pod.
pub const TABLE: &str = "multi_networkpolicy";

pub(crate) const INPUT: &str = "input";
pub(crate) const OUTPUT: &str = "output";

/// The longest comment that `nft` writes, in bytes.
const COMMENT: usize = 128;

/// The table in the pod.
pub fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, TABLE)
}

/// Which way traffic goes, as the pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Into the pod.
    Ingress,
    /// Out of the pod.
    Egress,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// Name of the chain that all isolated traffic of this direction runs through.
    pub(crate) fn chain(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// Name of the chain with what passes whatever the policies say.
    pub(crate) fn common(self) -> &'static str {
        match self {
            Self::Ingress => "common-ingress",
            Self::Egress => "common-egress",
        }
    }

    /// Name of the base chain.
    pub(crate) fn base(self) -> &'static str {
        match self {
            Self::Ingress => INPUT,
            Self::Egress => OUTPUT,
        }
    }
}

/// Where a policy's hash stands in the names of its chain and its sets.
const HASH: std::ops::Range<usize> = 4..36;

/// The hash of the policy to which a chain or set of this name belongs; no hash of any if it belongs to none.
pub(crate) fn hash_in(name: &str) -> Option<&str> {
    name.get(HASH)
}

/// The names that belong to one policy.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) hash: Arc<str>,
    /// `namespace/name`, cut to what fits.
    pub(crate) comment: String,
}

impl Names {
    pub(crate) fn of(policy: &PolicyKey) -> Self {
        let digest = Sha256::digest(format!("{}-{}", policy.name, policy.namespace));
        let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut comment = policy.to_string();
        // Names of Kubernetes objects are ASCII.
        comment.truncate(COMMENT);
        Self { hash: hash.into(), comment }
    }

    /// The set of the interfaces that the policy is about.
    pub(crate) fn interfaces(&self) -> String {
        format!("smi-{}", self.hash)
    }

    /// The chain with what the policy allows.
    pub(crate) fn chain(&self) -> String {
        format!("cnp-{}", self.hash)
    }

    /// A set of addresses that one rule allows. `part` is an interface's name for pods' addresses and `cidr` for blocks.
    pub(crate) fn addresses(&self, direction: Direction, family: Family, part: &str, rule: usize) -> String {
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        format!("snp-{}_{}_{family}_{part}_{rule}", self.hash, direction.chain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        // printf %s web-in-shop | sha256sum
        let names = Names::of(&PolicyKey::new("shop", "web-in"));
        assert_eq!(names.chain(), "cnp-2ceb3247d06e0f9d0ec2470fae61c5f0");
        assert_eq!(names.interfaces(), "smi-2ceb3247d06e0f9d0ec2470fae61c5f0");
        assert_eq!(
            names.addresses(Direction::Ingress, Family::V4, "net1", 2),
            "snp-2ceb3247d06e0f9d0ec2470fae61c5f0_ingress_ipv4_net1_2"
        );
        assert_eq!(names.comment, "shop/web-in");
        let all =
            [names.chain(), names.interfaces(), names.addresses(Direction::Egress, Family::V6, "net1", 0)];
        assert!(all.iter().all(|name| hash_in(name) == Some(&names.hash)));
        let long = Names::of(&PolicyKey::new("n", &"x".repeat(200)));
        assert_eq!(long.comment.len(), COMMENT);
    }
}
