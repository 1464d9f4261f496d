//! Traffic control of one direction.

use polynic_net::{
    IfName, IpNet, Qdisc, TokenBucket, TrafficAction, TrafficFilter, TrafficHook, TrafficMatch, TrafficObject,
};

/// The class of what is held back, where not everything is.
const CLASS: u16 = 0x30;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToPod,
    FromPod,
}

/// The other ends of the connections that are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subnets {
    /// Wherever they are.
    All,
    /// In these networks.
    Only(Vec<IpNet>),
    /// Outside of them.
    AllBut(Vec<IpNet>),
}

/// How much of what is held back in one direction.
pub(super) struct Shape<'a> {
    pub(super) bucket: TokenBucket,
    pub(super) direction: Direction,
    pub(super) subnets: &'a Subnets,
}

impl Shape<'_> {
    /// The objects at the root of the link by which the packets leave.
    pub(super) fn at_root(&self) -> Vec<TrafficObject> {
        match self.subnets {
            Subnets::All => vec![TrafficObject::Qdisc(Qdisc::Tbf(self.bucket))],
            Subnets::Only(nets) => self.classes(0, nets, CLASS),
            Subnets::AllBut(nets) => self.classes(CLASS, nets, 0),
        }
    }

    fn classes(&self, default: u16, nets: &[IpNet], class: u16) -> Vec<TrafficObject> {
        let mut objects = vec![
            TrafficObject::Qdisc(Qdisc::Htb { default }),
            TrafficObject::Class { id: CLASS, bucket: self.bucket },
        ];
        let filter = |(net, priority): (&IpNet, u16)| {
            let matches = match self.direction {
                Direction::ToPod => TrafficMatch::From(net.trunc()),
                Direction::FromPod => TrafficMatch::To(net.trunc()),
            };
            let action = TrafficAction::Class(class);
            TrafficObject::Filter(TrafficFilter { hook: TrafficHook::Root, priority, matches, action })
        };
        objects.extend(nets.iter().zip(1..).map(filter));
        objects
    }

    /// The objects that send all that comes by a link out of another one.
    pub(super) fn redirect(to: &IfName) -> [TrafficObject; 2] {
        let filter = TrafficFilter {
            hook: TrafficHook::Ingress,
            priority: 1,
            matches: TrafficMatch::All,
            action: TrafficAction::Redirect(to.clone()),
        };
        [TrafficObject::Qdisc(Qdisc::Ingress), TrafficObject::Filter(filter)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(subnets: &Subnets, direction: Direction) -> Vec<TrafficObject> {
        Shape { bucket: TokenBucket::new(1000, 1000), direction, subnets }.at_root()
    }

    #[test]
    fn networks_are_told_by_the_other_end() {
        let nets = Subnets::Only(vec!["10.1.2.3/8".parse().unwrap()]);
        let filters = |direction| match shape(&nets, direction).pop() {
            Some(TrafficObject::Filter(filter)) => (filter.matches, filter.action),
            other => panic!("{other:?}"),
        };
        let net: IpNet = "10.0.0.0/8".parse().unwrap();
        assert_eq!(filters(Direction::ToPod), (TrafficMatch::From(net), TrafficAction::Class(CLASS)));
        assert_eq!(filters(Direction::FromPod), (TrafficMatch::To(net), TrafficAction::Class(CLASS)));
    }

    #[test]
    fn what_is_exempt_is_sent_at_once_and_the_rest_is_not() {
        let nets = Subnets::AllBut(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let objects = shape(&nets, Direction::ToPod);
        assert_eq!(objects[0], TrafficObject::Qdisc(Qdisc::Htb { default: CLASS }));
        let exempt = objects
            .iter()
            .filter(|o| matches!(o, TrafficObject::Filter(f) if f.action == TrafficAction::Class(0)));
        assert_eq!(exempt.count(), 2);
    }
}
