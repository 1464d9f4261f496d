//! Which Events are news. A container runtime tries again and again what fails, and hot-plug does; the pod's owner reads the cause once. What
//! was done, such as an interface that came, is told each time, as the replaced program does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use polynic_api::PodEvent;
use polynic_api::event::Severity;
use polynic_attach::PodRef;

/// For how long the same warning about the same pod is not told again.
const TOLD: Duration = Duration::from_secs(600);
/// Warnings that are remembered.
const MAX_TOLD: usize = 4096;

/// Warnings that were told.
#[derive(Default)]
pub(crate) struct Told {
    warnings: HashMap<Warning, Instant>,
}

#[derive(PartialEq, Eq, Hash)]
struct Warning {
    /// Namespace, name and UID.
    pod: (String, String, String),
    reason: &'static str,
    message: String,
}

impl Told {
    /// Whether this is to be told now. A warning is not while the same was told a short while ago and nothing has been done for the pod since.
    pub(crate) fn is_news(&mut self, pod: &PodRef, event: &PodEvent, now: Instant) -> bool {
        let pod = (pod.namespace.clone(), pod.name.clone(), pod.uid.clone());
        if event.severity != Severity::Warning {
            self.warnings.retain(|known, _| known.pod != pod);
            return true;
        }
        self.make_room(now);
        let warning = Warning { pod, reason: event.reason, message: event.message.clone() };
        let is_known = self.warnings.get(&warning).is_some_and(|at| now.duration_since(*at) < TOLD);
        if !is_known {
            self.warnings.insert(warning, now);
        }
        !is_known
    }

    fn make_room(&mut self, now: Instant) {
        if self.warnings.len() >= MAX_TOLD {
            self.warnings.retain(|_, at| now.duration_since(*at) < TOLD);
        }
        if self.warnings.len() >= MAX_TOLD {
            self.warnings.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodRef {
        PodRef { namespace: "blue".into(), name: name.into(), uid: "u".into() }
    }

    #[test]
    fn a_warning_is_told_once_in_a_while_and_what_was_done_each_time() {
        let (mut told, start) = (Told::default(), Instant::now());
        let failed = |why: &str| PodEvent::add_failed(why);
        let added = PodEvent::added_interface("net1", &[], "blue/lan");
        assert!(told.is_news(&pod("p"), &failed("no master"), start));
        assert!(!told.is_news(&pod("p"), &failed("no master"), start));
        assert!(told.is_news(&pod("p"), &failed("no address"), start), "another cause");
        assert!(told.is_news(&pod("q"), &failed("no master"), start), "another pod");
        assert!(told.is_news(&pod("p"), &added, start) && told.is_news(&pod("p"), &added, start));
        assert!(told.is_news(&pod("p"), &failed("no master"), start), "it worked in between");
        assert!(!told.is_news(&pod("q"), &failed("no master"), start + TOLD / 2));
        assert!(told.is_news(&pod("q"), &failed("no master"), start + TOLD), "however often it was tried");
        assert!(told.is_news(&pod("q"), &failed("no master"), start + TOLD * 2));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut told, now) = (Told::default(), Instant::now());
        (0..=MAX_TOLD)
            .for_each(|nth| assert!(told.is_news(&pod("p"), &PodEvent::add_failed(&nth.to_string()), now)));
        assert!(told.warnings.len() <= MAX_TOLD);
    }
}
