//! Several namespaces at once, with the numbers by which their links name each other.

use std::collections::BTreeMap;

use polynic_net::stack::Stack;

use super::Surveyor;
use crate::KernelError;
use crate::netns::Netns;

/// One of several namespaces.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// What was seen in it.
    pub stack: Stack,
    /// The numbers by which its links name other namespaces, as positions in the list.
    pub numbers: BTreeMap<i32, usize>,
}

/// Looks at all of `spaces`.
///
/// # Errors
/// One of them cannot be entered or read.
pub fn together<P>(spaces: &[Netns<P>]) -> Result<Vec<Surveyed>, KernelError> {
    let mut all = Vec::new();
    for space in spaces {
        let opened = Surveyor::open(space);
        let mut surveyor =
            opened.map_err(|e| KernelError::Talk { what: "enter a namespace".into(), why: e.to_string() })?;
        let stack = surveyor.stack()?;
        let numbers = numbers(&mut surveyor, &stack, spaces)?;
        all.push(Surveyed { stack, numbers });
    }
    Ok(all)
}

/// Only links that lead elsewhere need numbers, and the questions end when all are known.
fn numbers<P>(
    surveyor: &mut Surveyor,
    stack: &Stack,
    spaces: &[Netns<P>],
) -> Result<BTreeMap<i32, usize>, KernelError> {
    let mut wanted: Vec<i32> = stack.links.iter().filter_map(|link| link.fact.peer_netns).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = BTreeMap::new();
    for (position, space) in spaces.iter().enumerate() {
        if found.len() == wanted.len() {
            break;
        }
        if let Some(number) = surveyor.number_of(space)?.filter(|number| wanted.contains(number)) {
            found.insert(number, position);
        }
    }
    Ok(found)
}
