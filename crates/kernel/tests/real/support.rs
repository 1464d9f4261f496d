//! What every test here starts from.

use polynic_kernel::testing::{Scratch, say_skipped, scratch_netns};
use polynic_kernel::{Door, Errno, Kernel, KernelError, RealDoor};
use polynic_net::{
    Change, Diff, Facts, IfName, Link, LinkFact, LinkKind, LinkNeed, Macvlan, MacvlanMode, Needs, Object,
    Place, Veth,
};

/// A kernel over two fresh namespaces.
pub struct Bench {
    pub kernel: Box<dyn Kernel>,
    pub scratch: Scratch,
}

impl Bench {
    /// Nothing if the machine forbids namespaces.
    pub fn new() -> Option<Self> {
        let scratch = scratch_netns()?;
        let kernel = RealDoor::default().open(Some(&scratch.path)).unwrap();
        Some(Self { kernel, scratch })
    }

    /// Applies a change that must succeed.
    pub fn apply(&mut self, change: Change) {
        if let Err(e) = self.kernel.apply(&change) {
            panic!("{e}");
        }
    }

    /// Applies changes that must succeed.
    pub fn apply_all(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| self.apply(change));
    }

    /// Applies a change that must fail.
    pub fn fail(&mut self, change: Change) -> KernelError {
        self.kernel.apply(&change).expect_err("the change should fail")
    }

    /// The error number with which a change fails.
    pub fn errno(&mut self, change: Change) -> Errno {
        let error = self.fail(change);
        error.errno().unwrap_or_else(|| panic!("no error number: {error}"))
    }

    pub fn observe(&mut self, ask: impl FnOnce(&mut Needs)) -> Facts {
        let mut needs = Needs::default();
        ask(&mut needs);
        self.kernel.observe(&needs).unwrap()
    }

    /// A link, if it is there.
    pub fn link(&mut self, place: Place, link: &str) -> Option<LinkFact> {
        self.observe(|n| n.at_mut(place).link(&name(link))).link(place, &name(link)).cloned()
    }

    pub fn all_links(&mut self, place: Place) -> Vec<LinkFact> {
        self.observe(|n| n.at_mut(place).links = LinkNeed::All).at(place).unwrap().links.clone()
    }

    /// A veth pair: `pod_end` in the pod, `host_end` on the host, both up.
    pub fn cable(&mut self, pod_end: &str, host_end: &str) {
        self.apply(veth(Place::Pod, pod_end, Place::Host, host_end));
        self.apply(Change::up(Place::Pod, &name(pod_end)));
        self.apply(Change::up(Place::Host, &name(host_end)));
    }
}

/// A bridge that filters VLANs, in the pod; false, said aloud, if this kernel is built without.
pub fn filtering_bridge(bench: &mut Bench, bridge: &str) -> bool {
    let link = Link::new(name(bridge), LinkKind::Bridge { vlan_filtering: true });
    match bench.kernel.apply(&Change::create_link(Place::Pod, link)) {
        Err(e) if e.errno() == Some(Errno::EOPNOTSUPP) => {
            say_skipped("this kernel's bridges do not filter VLANs");
            false
        }
        outcome => {
            outcome.unwrap();
            true
        }
    }
}

pub fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

pub fn ifb(place: Place, link: &str) -> Change {
    Change::create_link(place, Link::new(name(link), LinkKind::Ifb))
}

pub fn veth(place: Place, link: &str, peer_place: Place, peer: &str) -> Change {
    let peer = Veth { place: peer_place, name: name(peer), mac: None, mtu: None };
    Change::create_link(place, Link::new(name(link), LinkKind::Veth(peer)))
}

pub fn macvlan_on(parent_place: Place, parent: &str, mode: MacvlanMode) -> Macvlan {
    let parent = polynic_net::LinkRef { place: parent_place, name: name(parent) };
    Macvlan { parent, mode, bc_queue_len: None }
}

pub fn remove_link(place: Place, link: Link) -> Change {
    Change { place, object: Object::Link(Diff::delete(link)) }
}
