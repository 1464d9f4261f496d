//! By which NIC packets of each kind of pod have to go. It is what the expect.md files say, not what `explain` or the plugins compute.

/// How a pod is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The pod's name.
    pub pod: &'static str,
    /// The link to its node, to Services and to the overlay.
    pub inner: &'static str,
    /// Its first NIC in the LAN.
    pub lan: &'static str,
    /// The NIC with the default route.
    pub default: &'static str,
    /// Whether its first NIC is one of the overlay.
    pub overlay: bool,
}

/// A pod with a NIC of the overlay, and net1 in the LAN.
const fn overlay(pod: &'static str, default: &'static str) -> Kind {
    Kind { pod, inner: "eth0", lan: "net1", default, overlay: true }
}

/// A pod with NICs in the LAN only.
const fn underlay(pod: &'static str) -> Kind {
    Kind { pod, inner: "veth0", lan: "eth0", default: "eth0", overlay: false }
}

/// All kinds that `router`, `veth` and `coordinator` make.
pub const KINDS: [Kind; 7] = [
    overlay("router", "net1"),
    overlay("overlay", "eth0"),
    overlay("overlay-net1", "net1"),
    underlay("veth"),
    underlay("veth-two"),
    underlay("underlay"),
    underlay("underlay-two"),
];

/// Somebody who is asked, and asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The pod's own node.
    Node,
    /// A host among the nodes.
    Lan,
    /// A host behind the router.
    Outside,
    /// A pod of the overlay on another node.
    Plain,
    /// A pod with several NICs on another node, at its address in the LAN.
    Other,
}

impl Party {
    /// All of them.
    pub const ALL: [Party; 5] = [Party::Node, Party::Lan, Party::Outside, Party::Plain, Party::Other];
}

impl Kind {
    /// By which NIC a party's request comes to the address of `nic`, and has to be answered.
    pub fn answers(&self, party: Party, nic: &'static str) -> &'static str {
        match party {
            // A node cannot reach a macvlan of its own, so there is a way of its own.
            Party::Node => self.inner,
            Party::Lan | Party::Outside | Party::Plain | Party::Other => nic,
        }
    }

    /// By which NIC a request comes that the party sends to a Service of the pod. The LAN host's packets enter the cluster by the pod's node, the
    /// outside host's by another one.
    pub fn serves(&self, party: Party) -> &'static str {
        match party {
            Party::Node | Party::Lan => self.inner,
            _ if self.overlay => self.inner,
            Party::Outside | Party::Plain | Party::Other => self.lan,
        }
    }

    /// By which NIC the pod asks a party.
    pub fn asks(&self, party: Party) -> &'static str {
        match party {
            Party::Node | Party::Plain => self.inner,
            Party::Lan | Party::Other => self.lan,
            Party::Outside => self.default,
        }
    }

    /// By which NIC the party's answers come. The pod itself answers by the NIC that it was asked by; others have routes of their own: whoever knows no
    /// pair to the pod's node sends to an address in the LAN over the LAN.
    pub fn hears(&self, party: Party) -> &'static str {
        match party {
            Party::Plain => {
                if self.overlay {
                    self.inner
                } else {
                    self.lan
                }
            }
            _ => self.asks(party),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(pod: &str) -> Kind {
        KINDS.into_iter().find(|kind| kind.pod == pod).unwrap()
    }

    #[test]
    fn whoever_is_in_the_lan_is_answered_there_and_the_node_is_not() {
        assert_eq!(kind("router").answers(Party::Lan, "net1"), "net1");
        assert_eq!(kind("router").answers(Party::Node, "net1"), "eth0");
        assert_eq!(kind("veth-two").answers(Party::Node, "net1"), "veth0");
    }

    #[test]
    fn the_default_route_is_for_those_who_are_far_away() {
        assert_eq!(kind("overlay").asks(Party::Outside), "eth0");
        assert_eq!(kind("overlay-net1").asks(Party::Outside), "net1");
        assert_eq!(kind("overlay-net1").asks(Party::Plain), "eth0");
    }

    #[test]
    fn the_overlay_answers_an_address_in_the_lan_over_the_lan() {
        assert_eq!((kind("veth").asks(Party::Plain), kind("veth").hears(Party::Plain)), ("veth0", "eth0"));
        assert_eq!((kind("router").asks(Party::Plain), kind("router").hears(Party::Plain)), ("eth0", "eth0"));
    }

    #[test]
    fn services_come_by_the_overlay_where_there_is_one() {
        assert_eq!(kind("overlay").serves(Party::Outside), "eth0");
        assert_eq!(kind("underlay").serves(Party::Outside), "eth0");
        assert_eq!(kind("underlay").serves(Party::Lan), "veth0");
    }
}
