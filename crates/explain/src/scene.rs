//! Namespaces side by side, with the cables between them.

use std::collections::BTreeMap;

use polynic_net::stack::{LinkState, Stack};

/// All namespaces that somebody looked at.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// They.
    pub sites: Vec<Site>,
}

/// One namespace.
#[derive(Clone, Debug)]
pub struct Site {
    /// What people call it: `pod default/web`, `node node1`.
    pub name: String,
    /// What was seen in it.
    pub stack: Stack,
    /// The numbers by which its links name other namespaces, as positions in [`Scene::sites`].
    pub numbers: BTreeMap<i32, usize>,
}

/// A link of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Position in [`Scene::sites`].
    pub site: usize,
    /// Index of the link.
    pub link: u32,
}

impl Scene {
    /// A site by its name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.sites.iter().position(|site| site.name == name)
    }

    pub(crate) fn stack(&self, site: usize) -> &Stack {
        &self.sites[site].stack
    }

    pub(crate) fn link(&self, spot: Spot) -> Option<&LinkState> {
        self.sites.get(spot.site)?.stack.link(spot.link)
    }

    /// `net1 of pod default/web`.
    pub(crate) fn describe(&self, spot: Spot) -> String {
        format!("{} of {}", self.stack(spot.site).name_of(spot.link), self.sites[spot.site].name)
    }

    /// The link that a link is a part of or the other end of: a veth's peer, a macvlan's parent.
    pub(crate) fn peer(&self, spot: Spot) -> Option<Spot> {
        let fact = &self.link(spot)?.fact;
        let site = match fact.peer_netns {
            Some(number) => *self.sites[spot.site].numbers.get(&number)?,
            None => spot.site,
        };
        Some(Spot { site, link: fact.peer? })
    }

    /// Links of all sites, wherever they are.
    pub(crate) fn spots(&self) -> impl Iterator<Item = (Spot, &LinkState)> {
        self.sites.iter().enumerate().flat_map(|(site, it)| {
            it.stack.links.iter().map(move |link| (Spot { site, link: link.fact.index }, link))
        })
    }
}
