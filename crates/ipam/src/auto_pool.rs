//! Automatic pools of applications in a SpiderSubnet: names, labels, sizes and which addresses they get
//! (spec/spiderpool.md 9A). The controller makes and scales them by these rules; the agent finds them by the labels.

use polynic_net::{Family, IntervalSet};

use crate::{Controller, FailureReason, Pool, Texts, annotation, label};

mod size;

pub use size::{IpNumber, SizeChange, ip_number, reclaim, resize};

/// Longest name of a pool.
const MAX_NAME: usize = 253;

/// Longest value of a label.
const MAX_LABEL: usize = 63;

/// What an automatic pool is for.
#[derive(Clone, Copy, Debug)]
pub struct AutoPool<'a> {
    /// Namespace of the application.
    pub namespace: &'a str,
    /// The application.
    pub app: &'a Controller,
    /// The interface.
    pub nic: &'a str,
    /// The family.
    pub family: Family,
}

/// The two labels that say how an automatic pool is looked after.
#[derive(Clone, Copy, Debug)]
pub struct Care<'a> {
    /// The SpiderSubnet it is from.
    pub subnet: &'a str,
    /// `ippool-cidr`: the pool's network as a label's value, `10-9-0-0-16`.
    pub cidr: &'a str,
    /// It goes with its application.
    pub reclaim: bool,
}

impl AutoPool<'_> {
    /// The pool's name: `auto4-<app>-<nic>-<u>`, u being the first five characters of the last group of the UID.
    pub fn name(&self) -> String {
        let start = match self.family {
            Family::V4 => "auto4-",
            Family::V6 => "auto6-",
        };
        let last = self.app.uid.rsplit('-').next().unwrap_or_default();
        let end = format!("-{}-{}", self.nic, last.chars().take(5).collect::<String>());
        let room = MAX_NAME.saturating_sub(start.len() + end.len());
        let app: String = self.app.name.chars().take(room).collect();
        format!("{start}{app}{end}").to_lowercase()
    }

    /// The labels by which the pool is known to be this application's.
    pub fn owner_labels(&self) -> Texts {
        let version = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let app = self.app;
        labels(&[
            (label::OWNER_APPLICATION_GV, &app.api_version.replace('/', "_")),
            (label::OWNER_APPLICATION_KIND, &app.kind),
            (label::OWNER_APPLICATION_NAMESPACE, self.namespace),
            (label::OWNER_APPLICATION_NAME, &app.name),
            (label::OWNER_APPLICATION_UID, &app.uid),
            (label::INTERFACE, self.nic),
            (label::IP_VERSION, version),
        ])
    }

    /// All labels of the pool.
    pub fn labels(&self, care: &Care<'_>) -> Texts {
        let mut all = self.owner_labels();
        let reclaim = if care.reclaim { "true" } else { "false" };
        let more = [
            (label::OWNER_SUBNET, care.subnet),
            (label::IPPOOL_CIDR, care.cidr),
            (label::IPPOOL_RECLAIM, reclaim),
        ];
        all.extend(labels(&more));
        all
    }

    /// Whether a pool with these labels is this one.
    pub fn is(&self, of_pool: &Texts) -> bool {
        self.owner_labels().iter().all(|(key, value)| of_pool.get(key) == Some(value))
    }

    /// `application` in a SpiderSubnet's controlledIPPools (2.2).
    pub fn application(&self) -> String {
        let app = self.app;
        format!("{}_{}_{}_{}", app.api_version.replace('/', "_"), app.kind, self.namespace, app.name)
    }
}

/// Whether a controller is of a kind of Kubernetes' own, whose pods' template can be read. Others are known by their pods alone.
pub fn is_built_in(controller: &Controller) -> bool {
    matches!(
        (controller.api_version.as_str(), controller.kind.as_str()),
        ("apps/v1", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | ("batch/v1", "Job" | "CronJob")
    )
}

/// Why an application gets no automatic pool with this number of addresses, if so: replicas of a kind that is not built in are not known, and
/// its name has to be a label of the pool.
pub fn refusal(controller: &Controller, number: Option<IpNumber>) -> Option<String> {
    let Controller { kind, name, .. } = controller;
    if name.len() > MAX_LABEL {
        return Some(format!(
            "{kind} {name} gets no automatic pool: its name has more than the {MAX_LABEL} characters of a label's value"
        ));
    }
    let unknown = !is_built_in(controller) && !matches!(number, Some(IpNumber::Fixed(_)));
    unknown.then(|| {
        format!("{kind} {name} gets an automatic pool of a fixed size only: annotation {} needs a number without +", annotation::IP_NUMBER)
    })
}

/// `podAffinity.matchLabels` of an application's pools.
pub fn app_labels(namespace: &str, app: &Controller) -> Texts {
    let (group, version) = app.api_version.split_once('/').unwrap_or(("", &app.api_version));
    labels(&[
        (label::app::API_GROUP, group),
        (label::app::API_VERSION, version),
        (label::app::KIND, &app.kind),
        (label::app::NAMESPACE, namespace),
        (label::app::NAME, &app.name),
    ])
}

/// What an automatic pool may still take from its subnet: the subnet's addresses less those that other pools have
/// and less the reserved ones.
pub fn free_of_subnet(subnet: &IntervalSet, controlled: &IntervalSet, reserved: &IntervalSet) -> IntervalSet {
    subnet.difference(controlled).difference(reserved)
}

/// Whether the agent need not wait any longer: the pool has its fixed size, or an address left.
pub(crate) fn can_serve(pool: &Pool, number: Option<IpNumber>) -> bool {
    let usage = pool.usage();
    match number {
        Some(IpNumber::Fixed(size)) => usage.total == i64::from(size),
        _ => usage.allocated < usage.total,
    }
}

fn labels(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The annotation `ippool-ip-number` that a pool of this size carries.
pub fn number_annotation(number: IpNumber) -> (String, String) {
    (annotation::IP_NUMBER.to_owned(), number.to_string())
}

/// A number or a boolean that is none.
fn wrong(key: &str, text: &str, rule: &str) -> FailureReason {
    FailureReason::WrongInput(format!("invalid format of Pod annotation '{key}': {text:?} is not {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> Controller {
        let text = |text: &str| text.to_owned();
        let uid = text("6c0f0d0e-1111-2222-3333-abcdef012345");
        Controller { api_version: text("apps/v1"), kind: text("Deployment"), name: text("Web"), uid }
    }

    #[test]
    fn names_end_in_the_start_of_the_uids_last_group() {
        let of = |app: &Controller, family| AutoPool { namespace: "a", app, nic: "net1", family }.name();
        assert_eq!(of(&app(), Family::V4), "auto4-web-net1-abcde");
        let long = Controller { name: "x".repeat(300), ..app() };
        let name = of(&long, Family::V6);
        assert!(name.starts_with("auto6-x") && name.ends_with("x-net1-abcde") && name.len() == 253);
    }

    #[test]
    fn a_pool_is_known_by_its_owner_and_interface() {
        let app = app();
        let pool = AutoPool { namespace: "a", app: &app, nic: "eth0", family: Family::V4 };
        let care = Care { subnet: "s", cidr: "10-9-0-0-16", reclaim: true };
        let labels = pool.labels(&care);
        assert_eq!(labels["ipam.spidernet.io/ippool-cidr"], "10-9-0-0-16");
        assert_eq!(labels["ipam.spidernet.io/owner-application-gv"], "apps_v1");
        assert!(label::is_automatic(&labels) && pool.is(&labels));
        assert!(!AutoPool { nic: "net1", ..pool }.is(&labels));
        assert!(!AutoPool { family: Family::V6, ..pool }.is(&labels));
        assert_eq!(pool.application(), "apps_v1_Deployment_a_Web");
    }

    #[test]
    fn a_name_that_is_no_label_gets_no_pool() {
        let named = |length: usize| Controller { name: "a".repeat(length), ..app() };
        assert_eq!(refusal(&named(63), None), None);
        assert!(refusal(&named(64), None).unwrap().contains("63 characters"));
    }

    #[test]
    fn the_core_group_is_empty() {
        let own = app_labels("a", &Controller { api_version: "v1".to_owned(), ..app() });
        assert_eq!(own["ipam.spidernet.io/app-api-group"], "");
        assert_eq!(own["ipam.spidernet.io/app-api-version"], "v1");
    }
}
