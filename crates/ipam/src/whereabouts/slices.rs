//! Cutting a range into slices for nodes (spec/whereabouts.md 7).

use std::collections::{BTreeMap, BTreeSet};

use polynic_net::{IpNet, Ipv4Net};

use super::range::{RangeError, net};

/// All slices of a pool are in one object, which has to stay small enough to be written.
const MOST_SLICES: u32 = 4096;
/// A longer prefix leaves nothing between its first and its last address.
const LONGEST: u8 = 30;

/// Why a range cannot be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The range is none.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Only IPv4 is cut.
    #[error("range {0} is not IPv4: only IPv4 is cut into slices")]
    Family(IpNet),
    /// Neither `/26` nor `26`.
    #[error("invalid node_slice_size {0:?}")]
    Size(String),
    /// It does not fit into the range, or has no address to hand out.
    #[error("node_slice_size /{size} does not fit into range {range}: it must be between /{} and /{LONGEST}", .range.prefix_len())]
    Misfit {
        /// The range.
        range: Ipv4Net,
        /// The size.
        size: u8,
    },
    /// Too many for one object.
    #[error("range {range} has more than {MOST_SLICES} slices of size /{size}")]
    TooMany {
        /// The range.
        range: Ipv4Net,
        /// The size.
        size: u8,
    },
}

/// A slice and the node that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The node; empty: free.
    pub node: String,
    /// The slice as a prefix.
    pub range: String,
}

/// The slices of a range in order, all free.
///
/// # Errors
/// [`SliceError`].
pub fn cut(range: &str, size: &str) -> Result<Vec<Slice>, SliceError> {
    let range = match net(range)? {
        IpNet::V4(range) => range,
        other => return Err(SliceError::Family(other)),
    };
    let number = size.trim().trim_start_matches('/');
    let size: u8 = number.parse().map_err(|_| SliceError::Size(size.to_owned()))?;
    let bits = size.checked_sub(range.prefix_len()).filter(|_| size <= LONGEST);
    let bits = bits.ok_or(SliceError::Misfit { range, size })?;
    if bits >= 32 || 1 << bits > MOST_SLICES {
        return Err(SliceError::TooMany { range, size });
    }
    // The size is between the range's and the longest.
    let slices = range.subnets(size).map_err(|_| SliceError::Misfit { range, size })?;
    Ok(slices.map(|slice| Slice { node: String::new(), range: slice.to_string() }).collect())
}

/// Gives every node a slice: the one it has, else the first that is free. What a node had that is gone is free. Answers the slices,
/// and the nodes for which there was none.
pub fn hand_out(
    mut slices: Vec<Slice>,
    before: &[Slice],
    nodes: &BTreeSet<String>,
) -> (Vec<Slice>, Vec<String>) {
    let mut had: BTreeMap<&str, &str> = BTreeMap::new();
    for slice in before.iter().filter(|slice| nodes.contains(&slice.node)) {
        // Of two that a node has it keeps the first, which is what plugins use.
        had.entry(&slice.node).or_insert(&slice.range);
    }
    for (node, range) in &had {
        if let Some(slice) = slices.iter_mut().find(|slice| slice.range == **range && slice.node.is_empty()) {
            slice.node = (*node).to_owned();
        }
    }
    let served: BTreeSet<String> = slices.iter().map(|slice| slice.node.clone()).collect();
    let mut left = Vec::new();
    for node in nodes.difference(&served) {
        match slices.iter_mut().find(|slice| slice.node.is_empty()) {
            Some(slice) => slice.node.clone_from(node),
            None => left.push(node.clone()),
        }
    }
    (slices, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(slices: &[Slice]) -> Vec<&str> {
        slices.iter().map(|slice| slice.range.as_str()).collect()
    }

    fn nodes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn owners(slices: &[Slice]) -> Vec<&str> {
        slices.iter().map(|slice| slice.node.as_str()).collect()
    }

    #[test]
    fn a_range_is_cut_from_its_beginning() {
        let expected = ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26", "10.0.0.192/26"];
        assert_eq!(ranges(&cut("10.0.0.17/24", "/26").unwrap()), expected);
        assert_eq!(ranges(&cut("10.0.0.5-10.0.0.9/24", "26").unwrap()), expected);
        assert_eq!(ranges(&cut("10.0.0.0/24", "24").unwrap()), ["10.0.0.0/24"]);
    }

    #[test]
    fn what_cannot_be_cut_is_named() {
        for (range, size, text) in [
            ("fd00::/64", "80", "is not IPv4"),
            ("10.0.0.0/24", "/x", "invalid node_slice_size \"/x\""),
            ("10.0.0.0/24", "", "invalid node_slice_size \"\""),
            ("10.0.0.0/24", "23", "does not fit into range 10.0.0.0/24"),
            ("10.0.0.0/24", "31", "between /24 and /30"),
            ("10.0.0.0/8", "30", "more than 4096 slices"),
            ("0.0.0.0/0", "30", "more than 4096 slices"),
            ("10.0.0.0", "26", "invalid CIDR"),
        ] {
            let said = cut(range, size).unwrap_err().to_string();
            assert!(said.contains(text), "{range} {size}: {said}");
        }
    }

    #[test]
    fn nodes_keep_their_slices_and_new_ones_take_the_first_that_is_free() {
        let free = || cut("10.0.0.0/24", "26").unwrap();
        let (first, left) = hand_out(free(), &[], &nodes(&["a", "b", "c"]));
        assert_eq!((owners(&first), left.len()), (vec!["a", "b", "c", ""], 0));
        let (second, left) = hand_out(free(), &first, &nodes(&["a", "c", "d", "e", "f"]));
        assert_eq!((owners(&second), left), (vec!["a", "d", "c", "e"], vec!["f".to_owned()]));
        let (same, _) = hand_out(free(), &second, &nodes(&["a", "c", "d", "e", "f"]));
        assert_eq!(same, second);
        let doubled = [&second[..], &[Slice { node: "a".into(), range: "10.0.0.64/26".into() }]].concat();
        assert_eq!(owners(&hand_out(free(), &doubled, &nodes(&["a"])).0), ["a", "", "", ""]);
    }
}
