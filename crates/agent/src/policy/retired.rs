//! What the retired agent, which used iptables, left in pods that run still: chains that nobody edits any more, and that drop what policies
//! allow by now. They are taken away after our own table is in force, so nothing is open meanwhile.

use polynic_kernel::{Kernel, KernelError};
use polynic_net::{FwFamily, FwTable, Place};

/// Removes the retired agent's chains from a pod; answers how many.
///
/// # Errors
/// The kernel refuses.
pub(super) fn clear(kernel: &mut dyn Kernel) -> Result<usize, KernelError> {
    let mut count = 0;
    for family in [FwFamily::Ip, FwFamily::Ip6] {
        // iptables' nf_tables variant calls its table so.
        let table = FwTable::new(family, "filter");
        count += kernel.remove_chains(Place::Pod, &table, &mut is_theirs)?;
    }
    Ok(count)
}

/// `MULTI-INGRESS`, `MULTI-EGRESS-COMMON`, `MULTI-3-INGRESS`, `MULTI-0-EGRESS-1-PORTS` (spec/multi-networkpolicy.md 5).
fn is_theirs(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("MULTI-") else { return false };
    let words: Vec<&str> = rest.split('-').collect();
    let is_way = |word: &str| ["INGRESS", "EGRESS"].contains(&word);
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match words.as_slice() {
        [way] | [way, "COMMON"] => is_way(way),
        [policy, way] => is_number(policy) && is_way(way),
        [policy, way, rule, "PORTS" | "FROM" | "TO"] => is_number(policy) && is_way(way) && is_number(rule),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_retired_agents_names_are_meant() {
        let theirs = ["MULTI-INGRESS", "MULTI-EGRESS-COMMON", "MULTI-3-INGRESS", "MULTI-0-EGRESS-12-PORTS"];
        assert!(theirs.into_iter().all(is_theirs));
        let others = [
            "MULTI",
            "MULTI-",
            "MULTI-CAST",
            "MULTI-x-INGRESS",
            "INPUT",
            "MULTI-0-EGRESS-1-MINE",
            "multi-ingress",
        ];
        assert!(!others.into_iter().any(is_theirs));
    }
}
