//! What the retired iptables agent left in a running pod (spec/multi-networkpolicy.md 5): its chains decide nothing any more.
//!
//! They are in iptables' own table, where its nf_tables variant keeps them; those of the legacy variant cannot be reached by netlink. The two chains that
//! INPUT and OUTPUT lead to stay, without rules: whose rule leads there is not for us to say.

use polynic_kernel::{Kernel, KernelError};
use polynic_net::{FwEdit, FwFamily, FwTable, Place};

const PREFIX: &str = "MULTI-";
const ENTRIES: [&str; 2] = ["MULTI-INGRESS", "MULTI-EGRESS"];

/// Takes its rules away; answers from how many chains. To be called once our own rules are in force.
pub(super) fn take_over(kernel: &mut dyn Kernel) -> Result<usize, KernelError> {
    let mut count = 0;
    for family in [FwFamily::Ip, FwFamily::Ip6] {
        let table = FwTable::new(family, "filter");
        let Some(there) = kernel.inventory(Place::Pod, &table)? else { continue };
        let edits = edits(there.chains.keys().map(String::as_str));
        count += edits.iter().filter(|edit| matches!(edit, FwEdit::EmptyChain(_))).count();
        kernel.edit_table(Place::Pod, &table, &edits)?;
    }
    Ok(count)
}

/// The agent had chains beside the two wherever it had rules.
fn edits<'c>(chains: impl Iterator<Item = &'c str>) -> Vec<FwEdit> {
    let (entries, others): (Vec<&str>, Vec<&str>) =
        chains.filter(|chain| chain.starts_with(PREFIX)).partition(|chain| ENTRIES.contains(chain));
    if others.is_empty() {
        return Vec::new();
    }
    let emptied = entries.iter().chain(&others).map(|chain| FwEdit::EmptyChain((*chain).to_owned()));
    emptied.chain(others.iter().map(|chain| FwEdit::RemoveChain((*chain).to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_emptied_before_any_of_them_goes_and_a_second_time_there_is_nothing_to_do() {
        let there =
            ["INPUT", "MULTI-0-INGRESS", "MULTI-0-INGRESS-0-PORTS", "MULTI-INGRESS", "MULTI-INGRESS-COMMON"];
        let edits = edits(there.into_iter());
        let count = |wanted: fn(&FwEdit) -> bool| edits.iter().filter(|edit| wanted(edit)).count();
        assert_eq!(count(|edit| matches!(edit, FwEdit::EmptyChain(_))), 4);
        assert_eq!(count(|edit| matches!(edit, FwEdit::RemoveChain(_))), 3);
        assert!(edits.iter().skip(4).all(|edit| matches!(edit, FwEdit::RemoveChain(_))), "{edits:?}");
        assert_eq!(super::edits(["INPUT", "MULTI-EGRESS", "MULTI-INGRESS"].into_iter()), []);
    }
}
