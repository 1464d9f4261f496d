//! Traffic control: what needs what, and what goes with what (net/sched/sch_api.c, cls_api.c).

use polynic_net::{
    IfName, Qdisc, Traffic, TrafficAction, TrafficFact, TrafficHook, TrafficKey, TrafficObject,
};

use super::space::Space;
use super::world::Refusal;
use crate::Errno;

impl Space {
    pub(super) fn add_traffic(&mut self, traffic: &Traffic) -> Result<(), Refusal> {
        self.link(&traffic.link)?;
        if self.has(&traffic.link, traffic.object.key()) {
            return Err(Errno::EEXIST.into());
        }
        match &traffic.object {
            TrafficObject::Qdisc(Qdisc::Tbf(bucket)) if bucket.rate == 0 || bucket.buffer == 0 => {
                return Err(Errno::EINVAL.into());
            }
            TrafficObject::Qdisc(_) => {}
            TrafficObject::Class { .. } => self.check_classful(&traffic.link)?,
            TrafficObject::Filter(filter) => {
                if !self.has(&traffic.link, TrafficKey::Qdisc(filter.hook)) {
                    return Err(Errno::EINVAL.into());
                }
                if let TrafficAction::Redirect(to) = &filter.action {
                    self.link(to)?;
                }
            }
        }
        self.traffic.push(traffic.clone());
        Ok(())
    }

    /// A discipline takes its classes and filters with it.
    pub(super) fn delete_traffic(&mut self, traffic: &Traffic) -> Result<(), Refusal> {
        self.link(&traffic.link)?;
        let key = traffic.object.key();
        if !self.has(&traffic.link, key) {
            return Err(Errno::ENOENT.into());
        }
        let goes = |other: TrafficKey| match (key, other) {
            (TrafficKey::Qdisc(TrafficHook::Root), TrafficKey::Class(_)) => true,
            (TrafficKey::Qdisc(hook), TrafficKey::Filter(of, _)) => hook == of,
            _ => other == key,
        };
        self.traffic.retain(|t| t.link != traffic.link || !goes(t.object.key()));
        Ok(())
    }

    /// What there is on these links.
    pub(super) fn traffic_of(&self, links: &[IfName]) -> Vec<TrafficFact> {
        let fact = |t: &Traffic| TrafficFact {
            link: t.link.clone(),
            key: t.object.key(),
            bucket: match &t.object {
                TrafficObject::Qdisc(Qdisc::Tbf(bucket)) => Some(*bucket),
                _ => None,
            },
        };
        self.traffic.iter().filter(|t| links.contains(&t.link)).map(fact).collect()
    }

    fn has(&self, link: &IfName, key: TrafficKey) -> bool {
        self.traffic.iter().any(|t| t.link == *link && t.object.key() == key)
    }

    fn check_classful(&self, link: &IfName) -> Result<(), Refusal> {
        let classful =
            |t: &Traffic| t.link == *link && matches!(t.object, TrafficObject::Qdisc(Qdisc::Htb { .. }));
        if self.traffic.iter().any(classful) { Ok(()) } else { Err(Errno::EINVAL.into()) }
    }
}
